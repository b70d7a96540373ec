mod cache;
mod chains;
mod features;
mod npz;
mod output;
mod progress;
#[cfg(test)]
mod tests;
mod video;
fn main() {}
