//! A bad network on one machine: passes UDP datagrams on, and loses, delays, reorders, repeats some of them, the same ones each time.
//!
//! ```text
//! cargo run --example relay -- --from 127.0.0.1:5004 --to 127.0.0.1:6004 --seed 1 --loss 0.05 --delay 30 --jitter 10
//! ```

mod channel;
#[allow(dead_code, reason = "the tests use more of it")]
mod relay;

use anyhow::{Context, Result, bail, ensure};
use channel::{Conditions, Loss};
use std::net::SocketAddr;
use std::time::Duration;

const HELP: &str = "relay --from ADDRESS:PORT --to ADDRESS:PORT [options]
  --seed N               seed of everything random (0)
  --loss P               probability that a packet is lost (0)
  --burst ENTER,LEAVE[,GOOD,BAD]
                         Gilbert-Elliott loss: probabilities a packet to enter and to leave the bad state, losses in both (0, 1)
  --drop A..B            packets A to B - 1 are lost, from 0; may be repeated
  --delay MS, --jitter MS
  --reorder P            probability that a packet is held back for 20 ms
  --duplicate P
  --rate KBIT            kbit/s that pass; a packet that would wait longer than 200 ms is lost
Prints what became of the packets every ten seconds.";

fn main() -> Result<()> {
    let mut conditions = Conditions { reorder_by: Duration::from_millis(20), ..Conditions::default() };
    let (mut from, mut to) = (None::<SocketAddr>, None::<SocketAddr>);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        if name == "--help" {
            println!("{HELP}");
            return Ok(());
        }
        let value = arguments.next().with_context(|| format!("{name} without a value\n{HELP}"))?;
        let number = || value.parse::<f64>().with_context(|| format!("{name} {value}: not a number"));
        let probability = || -> Result<f64> {
            let p = number()?;
            ensure!((0.0..=1.0).contains(&p), "{name} {value}: legal are 0 to 1");
            Ok(p)
        };
        let milliseconds = || -> Result<Duration> {
            let ms = number()?;
            ensure!((0.0..=60_000.0).contains(&ms), "{name} {value}: legal are 0 to 60000");
            Ok(Duration::from_secs_f64(ms / 1000.0))
        };
        match name.as_str() {
            "--from" => from = Some(value.parse().with_context(|| format!("{name} {value}"))?),
            "--to" => to = Some(value.parse().with_context(|| format!("{name} {value}"))?),
            "--seed" => conditions.seed = value.parse().with_context(|| format!("{name} {value}"))?,
            "--loss" => conditions.loss = Loss::Random(probability()?),
            "--burst" => conditions.loss = burst(&value)?,
            "--drop" => {
                let (first, end) = value.split_once("..").with_context(|| format!("{name} {value}: not A..B"))?;
                conditions.drop.push(first.parse()?..end.parse()?);
            }
            "--delay" => conditions.delay = milliseconds()?,
            "--jitter" => conditions.jitter = milliseconds()?,
            "--reorder" => conditions.reorder = probability()?,
            "--duplicate" => conditions.duplicate = probability()?,
            "--rate" => conditions.rate = (number()? * 1000.0) as u64,
            _ => bail!("unknown option {name}\n{HELP}"),
        }
    }
    let (from, to) = from.zip(to).with_context(|| format!("--from and --to are needed\n{HELP}"))?;
    let relay = relay::Relay::start(from, to, conditions)?;
    println!("{} to {to}", relay.address());
    loop {
        std::thread::sleep(Duration::from_secs(10));
        println!("{:?}", relay.counts());
    }
}

fn burst(value: &str) -> Result<Loss> {
    let numbers = value
        .split(',')
        .map(str::parse)
        .collect::<Result<Vec<f64>, _>>()
        .with_context(|| format!("--burst {value}"))?;
    ensure!(numbers.iter().all(|p| (0.0..=1.0).contains(p)), "--burst {value}: legal are 0 to 1");
    match numbers[..] {
        [enter, leave] => Ok(Loss::Burst { enter, leave, good: 0.0, bad: 1.0 }),
        [enter, leave, good, bad] => Ok(Loss::Burst { enter, leave, good, bad }),
        _ => bail!("--burst {value}: two or four numbers"),
    }
}
