//! An ONNX model, or the part of one between named tensors, ready to run.

use crate::cut::Graph;
use crate::onnx::{ELEM_F16, ELEM_F32, ValueInfo};
use crate::{Error, Result, library};
use half::f16;
use half::slice::HalfFloatSliceExt;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue, SessionInputs, SessionOutputs};
use ort::value::{TensorElementType, TensorRef, ValueType};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Most threads of one model.
pub const MAX_THREADS: usize = 64;
/// Most values of one tensor: 2^28, a gibibyte of f32.
pub const MAX_VALUES: usize = 1 << 28;

/// How a model is opened.
#[derive(Debug, Clone)]
pub struct ModelOptions {
    /// Tensors at which the part to run begins, in the order in which [`Model::run`] takes them. Empty: the model's inputs.
    pub inputs: Vec<String>,
    /// Tensors at which it ends, in the order in which [`Model::run`] gives them. Empty: the model's outputs.
    pub outputs: Vec<String>,
    /// Threads that compute one run, 1 to 64; 0 = one for each core. They sleep between operators instead of spinning.
    pub threads: usize,
    /// The shared library of ONNX Runtime; `None`: it is looked for ([`crate::library`]).
    pub library: Option<PathBuf>,
    /// Directories in which to look for it first.
    pub library_dirs: Vec<PathBuf>,
}

impl Default for ModelOptions {
    fn default() -> Self {
        Self { inputs: Vec::new(), outputs: Vec::new(), threads: 1, library: None, library_dirs: Vec::new() }
    }
}

/// Type of the values of a tensor in the model. [`Model::run`] takes and gives `f32` and converts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// binary32.
    F32,
    /// binary16.
    F16,
}

impl Dtype {
    fn of(name: &str, ty: TensorElementType) -> Result<Self, String> {
        match ty {
            TensorElementType::Float32 => Ok(Dtype::F32),
            TensorElementType::Float16 => Ok(Dtype::F16),
            other => Err(format!("the tensor {name:?} has values of type {other}, legal are f32 and f16")),
        }
    }
}

/// A tensor that goes in or comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name in the model.
    pub name: String,
    /// Type of its values in the model.
    pub dtype: Dtype,
    /// Its dimensions, outermost first, all above 0; none for a single value.
    pub dims: Vec<usize>,
}

impl TensorSpec {
    /// Number of values.
    pub fn elements(&self) -> usize {
        self.dims.iter().product()
    }
}

impl std::fmt::Display for TensorSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let dims: Vec<String> = self.dims.iter().map(usize::to_string).collect();
        let dtype = match self.dtype {
            Dtype::F32 => "f32",
            Dtype::F16 => "f16",
        };
        write!(f, "{}: {dtype} {}", self.name, dims.join("×"))
    }
}

/// A tensor as the runtime describes it: dimensions may be open.
struct Described {
    name: String,
    dtype: Dtype,
    dims: Vec<Option<usize>>,
}

impl Described {
    fn new(name: &str, ty: &ValueType) -> Result<Self, String> {
        let ValueType::Tensor { ty, shape, .. } = ty else {
            return Err(format!("{name:?} is no tensor but {ty}"));
        };
        let dims = shape.iter().map(|&d| usize::try_from(d).ok()).collect();
        Ok(Self { name: name.to_owned(), dtype: Dtype::of(name, *ty)?, dims })
    }

    fn fixed(self) -> Option<TensorSpec> {
        let dims = self.dims.into_iter().collect::<Option<Vec<usize>>>()?;
        Some(TensorSpec { name: self.name, dtype: self.dtype, dims })
    }
}

/// Fails for tensors without values and for ones that are too large.
fn check_size(spec: &TensorSpec) -> Result<(), String> {
    let elements = spec.dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    match elements {
        Some(1..=MAX_VALUES) => Ok(()),
        Some(0) => Err(format!("the tensor {spec} has no values, or as many as depend on what goes in")),
        _ => Err(format!("the tensor {spec} has too many values, the most is {MAX_VALUES}")),
    }
}

/// A model ready to run.
pub struct Model {
    session: Session,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    /// Inputs of f16 models, converted.
    narrow: Vec<Vec<f16>>,
    /// Outputs of f16 models, converted.
    wide: Vec<Vec<f32>>,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("inputs", &self.inputs).field("outputs", &self.outputs).finish_non_exhaustive()
    }
}

/// What one run gave, until the next.
pub struct Outputs<'a> {
    values: SessionOutputs<'a>,
    /// Converted values, empty where none had to be.
    wide: &'a [Vec<f32>],
}

impl Outputs<'_> {
    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.wide.len()
    }

    /// Whether there are none; a model has at least one.
    pub fn is_empty(&self) -> bool {
        self.wide.is_empty()
    }

    /// The values of output `n`, in the order of [`Model::outputs`]; not a copy unless the model computes in f16. `None` past
    /// the last.
    pub fn get(&self, n: usize) -> Option<&[f32]> {
        let wide = self.wide.get(n)?;
        if !wide.is_empty() {
            return Some(wide);
        }
        self.values[n].try_extract_tensor::<f32>().ok().map(|(_, values)| values)
    }

    /// The values of all outputs in order.
    pub fn iter(&self) -> impl Iterator<Item = &[f32]> {
        (0..self.len()).filter_map(|n| self.get(n))
    }
}

fn session(path: &Path, bytes: &[u8], threads: usize, options: &ModelOptions) -> Result<Session> {
    let environment = library::environment(options.library.as_deref(), &options.library_dirs)?;
    // Spinning threads take a core from whatever runs beside them, and are slower themselves where cores are shared.
    let builder = Session::builder(&environment).map_err(Error::runtime)?;
    let builder = builder.with_intra_threads(threads).map_err(Error::runtime)?;
    let builder = builder.with_inter_threads(1).map_err(Error::runtime)?;
    let builder = builder.with_intra_op_spinning(false).map_err(Error::runtime)?;
    let mut builder = builder.with_optimization_level(GraphOptimizationLevel::All).map_err(Error::runtime)?;
    builder
        .commit_from_memory(bytes)
        .map_err(|error| Error::model(path, format!("ONNX Runtime does not take it: {}", error.message())))
}

/// The number of threads asked for.
fn thread_count(threads: usize) -> Result<usize> {
    match threads {
        0 => Ok(std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS)),
        n @ 1..=MAX_THREADS => Ok(n),
        n => Err(Error::Setting(format!("{n} threads, 0 to {MAX_THREADS} are legal"))),
    }
}

impl Model {
    /// Opens the file, cuts the model, and makes it ready to run; ONNX Runtime is loaded if it is not yet.
    ///
    /// An open batch dimension becomes 1. Shapes that the file does not say are found out by running the model once on zeros.
    ///
    /// # Errors
    /// The variant of [`Error`] says which step failed, the message what to do.
    pub fn open(path: impl AsRef<Path>, options: &ModelOptions) -> Result<Self> {
        let path = path.as_ref();
        let threads = thread_count(options.threads)?;
        let graph = Graph::read(path)?;
        let untyped = graph.untyped(&options.inputs)?;
        let mut found = HashMap::new();
        if !untyped.is_empty() {
            // What comes before the cut knows the shapes at it.
            let before = graph.cut(&[], &untyped, &HashMap::new())?;
            for spec in Self::ready(path, &before, threads, options)?.outputs {
                let elem_type = match spec.dtype {
                    Dtype::F32 => ELEM_F32,
                    Dtype::F16 => ELEM_F16,
                };
                found.insert(spec.name.clone(), ValueInfo::tensor(&spec.name, elem_type, &spec.dims));
            }
        }
        let bytes = graph.cut(&options.inputs, &options.outputs, &found)?;
        drop(graph);
        Self::ready(path, &bytes, threads, options)
    }

    /// Opens a whole model from the bytes of an ONNX file, with inputs of these `dims`, outermost first, in order. Dimensions that the model
    /// leaves open become those; the others must be the same. `name` is for messages. The names in `options` are not looked at.
    ///
    /// # Errors
    /// As [`Model::open`]; [`Error::Model`] for another number of inputs, or inputs of other shapes.
    pub fn from_bytes(name: &str, bytes: &[u8], dims: &[Vec<usize>], options: &ModelOptions) -> Result<Self> {
        let (path, threads) = (Path::new(name), thread_count(options.threads)?);
        let fixed = Graph::parse(path, bytes)?.with_dims(dims)?;
        Self::ready(path, &fixed, threads, options)
    }

    /// What `bytes` hold, whose inputs have fixed shapes, ready to run.
    fn ready(path: &Path, bytes: &[u8], threads: usize, options: &ModelOptions) -> Result<Self> {
        let wrong = |reason: String| Error::model(path, reason);
        let session = session(path, bytes, threads, options)?;
        let mut inputs = Vec::new();
        for outlet in session.inputs() {
            let described = Described::new(outlet.name(), outlet.dtype()).map_err(wrong)?;
            let name = described.name.clone();
            let spec = described.fixed().ok_or_else(|| wrong(format!("the shape of its input {name:?} is open")))?;
            check_size(&spec).map_err(wrong)?;
            inputs.push(spec);
        }
        let described = session.outputs().iter().map(|outlet| Described::new(outlet.name(), outlet.dtype()));
        let described = described.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
        let wide = vec![Vec::new(); described.len()];
        let mut model = Self { session, narrow: vec![Vec::new(); inputs.len()], inputs, outputs: Vec::new(), wide };
        let open = described.iter().any(|d| d.dims.iter().any(Option::is_none));
        let shapes = if open { Some(model.shapes_of_a_run()?) } else { None };
        for (n, mut described) in described.into_iter().enumerate() {
            if let Some(shape) = shapes.as_ref().and_then(|shapes| shapes.get(n)) {
                described.dims = shape.iter().map(|&d| Some(d)).collect();
            }
            let name = described.name.clone();
            let spec = described.fixed().ok_or_else(|| wrong(format!("the shape of its output {name:?} is open")))?;
            check_size(&spec).map_err(wrong)?;
            model.outputs.push(spec);
        }
        Ok(model)
    }

    /// Shapes of the outputs for inputs of zeros.
    fn shapes_of_a_run(&mut self) -> Result<Vec<Vec<usize>>> {
        let zeros: Vec<Vec<f32>> = self.inputs.iter().map(|spec| vec![0.0; spec.elements()]).collect();
        let zeros: Vec<&[f32]> = zeros.iter().map(Vec::as_slice).collect();
        let outputs = run(&mut self.session, &self.inputs, &mut self.narrow, &zeros)?;
        Ok(outputs.values().map(|v| v.shape().iter().map(|&d| usize::try_from(d).unwrap_or(0)).collect()).collect())
    }

    /// The tensors that go in, in order.
    pub fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }

    /// The tensors that come out, in order.
    pub fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    /// Runs the model once. `inputs` are the values of [`Model::inputs`], dense; they are not copied unless the model computes
    /// in f16.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of inputs or values, and when outputs come in other shapes than were announced;
    /// [`Error::Runtime`] when the runtime fails.
    pub fn run(&mut self, inputs: &[&[f32]]) -> Result<Outputs<'_>> {
        let values = run(&mut self.session, &self.inputs, &mut self.narrow, inputs)?;
        for ((n, spec), wide) in self.outputs.iter().enumerate().zip(&mut self.wide) {
            let value = &values[n];
            let shape = value.shape();
            if !shape.iter().copied().eq(spec.dims.iter().map(|&d| d as i64)) {
                return Err(Error::Shape(format!("the output {spec} came with the shape {shape:?}")));
            }
            match spec.dtype {
                Dtype::F32 => drop(value.try_extract_tensor::<f32>().map_err(Error::runtime)?),
                Dtype::F16 => {
                    let (_, narrow) = value.try_extract_tensor::<f16>().map_err(Error::runtime)?;
                    wide.resize(narrow.len(), 0.0);
                    narrow.convert_to_f32_slice(wide);
                }
            }
        }
        Ok(Outputs { values, wide: &self.wide })
    }
}

/// One run of the session.
fn run<'s>(
    session: &'s mut Session,
    specs: &[TensorSpec],
    narrow: &mut [Vec<f16>],
    inputs: &[&[f32]],
) -> Result<SessionOutputs<'s>> {
    if inputs.len() != specs.len() {
        return Err(Error::Shape(format!("{} input tensors, the model takes {}", inputs.len(), specs.len())));
    }
    let mut values: Vec<SessionInputValue<'_>> = Vec::with_capacity(specs.len());
    for ((spec, &data), narrow) in specs.iter().zip(inputs).zip(narrow) {
        if data.len() != spec.elements() {
            let message = format!("{} values for the input {spec}, which has {}", data.len(), spec.elements());
            return Err(Error::Shape(message));
        }
        let dims = spec.dims.as_slice();
        values.push(match spec.dtype {
            Dtype::F32 => TensorRef::from_array_view((dims, data)).map_err(Error::runtime)?.into(),
            Dtype::F16 => {
                narrow.resize(data.len(), f16::ZERO);
                narrow.convert_from_f32_slice(data);
                TensorRef::from_array_view((dims, narrow.as_slice())).map_err(Error::runtime)?.into()
            }
        });
    }
    let inputs: SessionInputs<'_, '_, 0> = SessionInputs::from(values.as_slice());
    session.run(inputs).map_err(Error::runtime)
}
