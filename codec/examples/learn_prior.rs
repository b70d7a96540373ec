//! Learns the prior of the native inner codec from coded streams: `learn_prior OUT.bin A.fcm [B.fcm …]`, or `make prior`.
//!
//! The streams are byte streams of any version, all with the same number of components; quantisers and scenes should vary.

use fcm_codec::PriorTrainer;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(out), streams) = (arguments.next(), arguments) else {
        return Err("learn_prior OUT.bin A.fcm [B.fcm …]".into());
    };
    let mut trainer = PriorTrainer::new();
    for stream in streams {
        trainer.add(&std::fs::read(&stream)?).map_err(|error| format!("{stream}: {error}"))?;
    }
    let prior = trainer.finish()?;
    std::fs::write(&out, &prior)?;
    println!("{out}: {} bytes", prior.len());
    Ok(())
}
