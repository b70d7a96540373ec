//! Video encoders and decoders that are programs: each codes a whole sequence, from one file into another.

use super::coder::{Coder, Picture, Take, Unit};
use super::elementary;
use crate::folder::Folder;
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A program.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// Its name on the path.
    pub name: &'static str,
    /// Where it comes from.
    pub source: &'static str,
}

/// An encoder and the decoder for what it writes.
pub struct Programs {
    pub encoder: Program,
    pub decoder: Program,
    /// Arguments of the encoder, between white space; it codes the file `in` of such pictures into the file `out`.
    pub encode: fn(&Picture, qp: u8) -> String,
    /// Arguments of the decoder, from the access units in the file `in` to the samples in the file `out`.
    pub decode: &'static str,
    /// Cuts what the encoder wrote into access units.
    pub split: fn(&[u8]) -> Result<Vec<Unit<'_>>>,
    /// Most pictures that the encoder gets at once: the rest a run of its own codes, which begins with a random access point.
    pub segment: u32,
}

/// SVT-AV1 and dav1d. Of its presets for low delay, version 1.4 (Debian 12) has 8 and faster ones only.
pub const SVT_AV1: Programs = Programs {
    encoder: Program { name: "SvtAv1EncApp", source: "Debian: svt-av1" },
    decoder: Program { name: "dav1d", source: "Debian: dav1d" },
    encode: |picture, qp| {
        let Picture { width, height, depth, framerate: (n, d), .. } = picture;
        format!(
            "-i in -b out -w {width} -h {height} --input-depth {depth} --fps-num {n} --fps-denom {d} --preset 8 \
             --pred-struct 1 --lookahead 0 --enable-tf 0 --scd 0 --rc 0 --aq-mode 0 -q {qp} --keyint {} \
             --irefresh-type 2 --tile-rows 0 --tile-columns 0 --lp 1 --progress 0",
            super::KEY_INT_MAX
        )
    },
    decode: "--demuxer section5 -i in --muxer yuv -o out --threads 1 --framedelay 1 --quiet",
    split: elementary::ivf,
    segment: u32::MAX,
};

/// VVenC, set as its own configurations for low delay but without their filter over time, and VVdeC. Without reordering VVenC makes
/// its first picture a random access point and no other, so it codes segments.
pub const VVENC: Programs = Programs {
    encoder: Program { name: "vvencapp", source: "not in Debian 12: https://github.com/fraunhoferhhi/vvenc" },
    decoder: Program { name: "vvdecapp", source: "not in Debian 12: https://github.com/fraunhoferhhi/vvdec" },
    encode: |picture, qp| {
        let Picture { width, height, depth, framerate: (n, d), .. } = picture;
        format!(
            "-i in -o out -s {width}x{height} -c yuv420_{depth} --fps {n}/{d} --tickspersec -1 --preset medium --qp {qp} --qpa 0 \
             --refreshtype none --intraperiod -1 --threads 0 --verbosity 1 --additional \
             PicReordering=0:GOPSize=8:STA=0:IntraQPOffset=-1:LambdaFromQpEnable=1:LookAhead=0:MCTF=0:BIM=0"
        )
    },
    decode: "-b in -o out -t 1 -v 1",
    split: elementary::vvc,
    segment: super::KEY_INT_MAX,
};

impl Programs {
    /// Versions and arguments: what decides results.
    ///
    /// # Errors
    /// When a program is not installed.
    pub fn identity(&self) -> Result<Value> {
        let picture = Picture { width: 2, height: 2, depth: 10, alignment: 1, framerate: (1, 1) };
        let versions = [self.encoder.version()?, self.decoder.version()?];
        Ok(json!({"encoder": (self.encode)(&picture, 0), "decoder": self.decode, "versions": versions}))
    }

    /// The encoder, for such pictures.
    ///
    /// # Errors
    /// When there is no room for its files.
    pub fn encoder(&self, picture: &Picture, qp: u8) -> Result<impl Coder + use<>> {
        Job::new(self.encoder, (self.encode)(picture, qp), self.segment, Product::Units(self.split))
    }

    /// The decoder, of such pictures.
    ///
    /// # Errors
    /// As above.
    pub fn decoder(&self, picture: &Picture) -> Result<impl Coder + use<>> {
        Job::new(self.decoder, self.decode.to_owned(), u32::MAX, Product::Pictures(picture.bytes()))
    }
}

impl Program {
    /// The first line of what it says of its version.
    fn version(self) -> Result<String> {
        let output = self.run(Command::new(self.name).arg("--version"))?;
        let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
        Ok(String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned())
    }

    fn run(self, command: &mut Command) -> Result<Output> {
        let output = command.output().map_err(|e| match e.kind() {
            ErrorKind::NotFound => anyhow!("there is no program {} ({})", self.name, self.source),
            _ => anyhow!("cannot run {}: {e}", self.name),
        })?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            bail!("{} failed ({}): {}", self.name, output.status, last_lines(&said));
        }
        Ok(output)
    }
}

/// The end of what a program said, where the reason stands.
fn last_lines(text: &str) -> String {
    const LINES: usize = 5;
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].join("; ")
}

/// What a program writes.
enum Product {
    /// Access units, cut by this.
    Units(fn(&[u8]) -> Result<Vec<Unit<'_>>>),
    /// Pictures of so many bytes.
    Pictures(usize),
}

/// Runs of a program: what is pushed goes into its input file, and all comes out when a segment is full or it is finished.
struct Job {
    program: Program,
    arguments: String,
    /// Most pictures of a run.
    segment: u32,
    product: Product,
    folder: Folder,
    input: BufWriter<File>,
    pushed: u32,
    busy: Duration,
}

impl Job {
    fn new(program: Program, arguments: String, segment: u32, product: Product) -> Result<Self> {
        let folder = Folder::new()?;
        let input = input(&folder)?;
        Ok(Self { program, arguments, segment, product, folder, input, pushed: 0, busy: Duration::ZERO })
    }

    fn run(&mut self, take: Take<'_>) -> Result<()> {
        self.input.flush().context("cannot write into a temporary file")?;
        let path = self.folder.path().join("out");
        // What an earlier run wrote is not taken for what this one should have written.
        let _ = std::fs::remove_file(&path);
        let mut command = Command::new(self.program.name);
        command.args(self.arguments.split_whitespace()).current_dir(self.folder.path()).stdin(Stdio::null());
        let clock = Instant::now();
        self.program.run(&mut command)?;
        self.busy += clock.elapsed();
        self.input = input(&self.folder)?;
        self.pushed = 0;
        let written = || format!("what {} wrote", self.program.name);
        match self.product {
            Product::Units(split) => {
                let stream = std::fs::read(&path).with_context(written)?;
                split(&stream).with_context(written)?.into_iter().try_for_each(take)
            }
            Product::Pictures(bytes) => pictures(&path, bytes, take).with_context(written),
        }
    }
}

/// The program's input, empty.
fn input(folder: &Folder) -> Result<BufWriter<File>> {
    let path = folder.path().join("in");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(BufWriter::new(file))
}

impl Coder for Job {
    fn push(&mut self, data: Vec<u8>, take: Take<'_>) -> Result<()> {
        self.input.write_all(&data).context("cannot write into a temporary file")?;
        self.pushed += 1;
        if self.pushed == self.segment { self.run(take) } else { Ok(()) }
    }

    fn finish(&mut self, take: Take<'_>) -> Result<()> {
        if self.pushed == 0 { Ok(()) } else { self.run(take) }
    }

    fn busy(&self) -> Duration {
        self.busy
    }
}

/// Hands on the pictures of a file, which has nothing else.
fn pictures(path: &Path, bytes: usize, take: Take<'_>) -> Result<()> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    ensure!(size.is_multiple_of(bytes as u64), "{size} bytes are no whole number of pictures of {bytes}");
    let mut file = BufReader::new(file);
    let mut picture = vec![0; bytes];
    for _ in 0..size / bytes as u64 {
        file.read_exact(&mut picture)?;
        take(Unit { data: &picture, random_access: true })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that every system has, with what it writes.
    fn job(name: &'static str, arguments: &str, segment: u32, product: Product) -> Job {
        Job::new(Program { name, source: "Debian: coreutils" }, arguments.to_owned(), segment, product).unwrap()
    }

    /// What comes out of two pictures of three bytes each and of the end after them.
    fn collect(mut job: Job) -> Result<[Vec<Vec<u8>>; 3]> {
        let mut all = [const { Vec::new() }; 3];
        for (n, out) in all.iter_mut().enumerate() {
            let take: Take<'_> = &mut |unit: Unit<'_>| {
                out.push(unit.data.to_vec());
                Ok(())
            };
            let n = n as u8;
            if n < 2 { job.push(vec![n, n + 10, n + 20], take)? } else { job.finish(take)? }
        }
        Ok(all)
    }

    #[test]
    fn all_that_was_pushed_comes_back_in_pieces_at_the_end() {
        let whole = job("cp", "in out", 3, Product::Pictures(2));
        assert_eq!(collect(whole).unwrap(), [vec![], vec![], vec![vec![0, 10], vec![20, 1], vec![11, 21]]]);
        let halves: fn(&[u8]) -> Result<Vec<Unit<'_>>> =
            |all| Ok(all.chunks(3).map(|data| Unit { data, random_access: false }).collect());
        let whole = job("cp", "in out", 3, Product::Units(halves));
        assert_eq!(collect(whole).unwrap(), [vec![], vec![], vec![vec![0, 10, 20], vec![1, 11, 21]]]);
    }

    #[test]
    fn a_full_segment_comes_back_at_once() {
        let [first, second] = [vec![vec![0, 10, 20]], vec![vec![1, 11, 21]]];
        let single = job("cp", "in out", 1, Product::Pictures(3));
        assert_eq!(collect(single).unwrap(), [first.clone(), second.clone(), vec![]]);
        let pairs = job("cp", "in out", 2, Product::Pictures(3));
        assert_eq!(collect(pairs).unwrap(), [vec![], [first, second].concat(), vec![]]);
    }

    #[test]
    fn what_goes_wrong_names_the_program() {
        let refusal = |job| format!("{:#}", collect(job).unwrap_err());
        let missing = refusal(job("fcm-no-such-program", "in out", 3, Product::Pictures(2)));
        assert_eq!(missing, "there is no program fcm-no-such-program (Debian: coreutils)");
        let failed = refusal(job("cp", "nothing out", 3, Product::Pictures(2)));
        assert!(failed.starts_with("cp failed (exit status: 1): ") && failed.contains("nothing"), "{failed}");
        let odd = refusal(job("cp", "in out", 3, Product::Pictures(4)));
        assert_eq!(odd, "what cp wrote: 6 bytes are no whole number of pictures of 4");
        let nothing = refusal(job("cp", "in elsewhere", 3, Product::Pictures(2)));
        assert!(nothing.starts_with("what cp wrote: "), "{nothing}");
    }
}
