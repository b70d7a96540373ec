//! Times a model, or the part of one between named tensors: `time MODEL [RUNS [INPUTS OUTPUTS]]`, names separated by commas, `-` for
//! the model's own. One thread; docs/inference.md has figures.

use anyhow::{Context, Result};
use fcm_infer::{Model, ModelOptions, Picture, PictureFormat, PictureInput, Preprocess, library};
use std::time::Instant;

/// Median and minimum of `runs` calls in milliseconds.
fn time(runs: usize, mut call: impl FnMut() -> Result<()>) -> Result<(f64, f64)> {
    call()?;
    let mut all = Vec::new();
    for _ in 0..runs.max(1) {
        let started = Instant::now();
        call()?;
        all.push(started.elapsed().as_secs_f64() * 1e3);
    }
    all.sort_by(f64::total_cmp);
    Ok((all[all.len() / 2], all[0]))
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let path = arguments.first().context("which model? time MODEL [RUNS [INPUTS OUTPUTS]]")?;
    let runs = arguments.get(1).map_or(Ok(50), |runs| runs.parse()).context("RUNS is a number")?;
    let names = |n: usize| {
        let list = arguments.get(n).map_or("-", String::as_str);
        list.split(',').filter(|name| *name != "-").map(str::to_owned).collect()
    };
    let options = ModelOptions { inputs: names(2), outputs: names(3), ..ModelOptions::default() };
    let started = Instant::now();
    let mut model = Model::open(path, &options)?;
    println!(
        "opened in {:.0} ms with {}",
        started.elapsed().as_secs_f64() * 1e3,
        library::loaded().unwrap_or_default().display()
    );
    for spec in model.inputs() {
        println!("in   {spec}");
    }
    for spec in model.outputs() {
        println!("out  {spec}");
    }
    let picture_input = PictureInput::new(&model.inputs()[0], Preprocess::default());
    let inputs: Vec<Vec<f32>> =
        model.inputs().iter().map(|spec| (0..spec.elements()).map(|n| (n % 256) as f32 / 255.0).collect()).collect();
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let (median, least) = time(runs, || model.run(&inputs).map(drop).map_err(Into::into))?;
    println!("run  median {median:.1} ms, least {least:.1} ms of {runs}");
    if let Ok(mut input) = picture_input {
        let (width, height) = (1920, 1080);
        let data: Vec<u8> = (0..width * height * 4).map(|n| (n * 31 % 251) as u8).collect();
        for (what, format, size) in [("RGB ", PictureFormat::Rgb, 3), ("BGRx", PictureFormat::Bgrx, 4)] {
            let picture = Picture::new(format, width as u32, height as u32, width * size, &data)?;
            let (median, least) = time(20, || input.convert(&picture).map(drop).map_err(Into::into))?;
            println!("{what} {width}×{height} to the input: median {median:.1} ms, least {least:.1} ms");
        }
    }
    Ok(())
}
