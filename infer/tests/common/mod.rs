//! Small ONNX models with known integers, written by the tests themselves.
#![allow(dead_code)]

use fcm_infer::{Model, ModelOptions};
use prost::Message;
use std::path::{Path, PathBuf};

/// A file that is removed at the end of the test.
pub struct File(PathBuf);

impl File {
    pub fn new(name: &str, bytes: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("fcm-infer-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).expect("the temporary directory is writable");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct ModelProto {
    #[prost(int64, tag = "1")]
    pub ir_version: i64,
    #[prost(message, optional, tag = "7")]
    pub graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<Opset>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Opset {
    #[prost(int64, tag = "2")]
    pub version: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<NodeProto>,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "13")]
    pub value_info: Vec<ValueInfo>,
}

#[derive(Clone, PartialEq, Message)]
pub struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    #[prost(string, tag = "4")]
    pub op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Attribute {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub ints: Vec<i64>,
    #[prost(int64, optional, tag = "3")]
    pub i: Option<i64>,
    #[prost(string, optional, tag = "4")]
    pub s: Option<String>,
    #[prost(int32, tag = "20")]
    pub r#type: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct TensorProto {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    #[prost(float, repeated, tag = "4")]
    pub float_data: Vec<f32>,
    #[prost(string, tag = "8")]
    pub name: String,
    #[prost(int32, optional, tag = "14")]
    pub data_location: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ValueInfo {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<Type>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Type {
    #[prost(message, optional, tag = "1")]
    pub tensor: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TensorType {
    #[prost(int32, tag = "1")]
    pub elem_type: i32,
    #[prost(message, optional, tag = "2")]
    pub shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Shape {
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<Dim>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Dim {
    #[prost(int64, optional, tag = "1")]
    pub value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    pub param: Option<String>,
}

pub const F32: i32 = 1;
pub const I64: i32 = 7;
pub const F16: i32 = 10;

/// A value with a type; a dimension of -1 is open and called `N`.
pub fn value(name: &str, elem_type: i32, dims: &[i64]) -> ValueInfo {
    let dim = |&d: &i64| match d {
        -1 => Dim { value: None, param: Some("N".into()) },
        d => Dim { value: Some(d), param: None },
    };
    let shape = Some(Shape { dim: dims.iter().map(dim).collect() });
    ValueInfo { name: name.into(), r#type: Some(Type { tensor: Some(TensorType { elem_type, shape }) }) }
}

pub fn node(op_type: &str, input: &[&str], output: &[&str], attribute: Vec<Attribute>) -> NodeProto {
    let names = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect();
    NodeProto { input: names(input), output: names(output), op_type: op_type.into(), attribute }
}

pub fn ints(name: &str, ints: &[i64]) -> Attribute {
    Attribute { name: name.into(), ints: ints.to_vec(), i: None, s: None, r#type: 7 }
}

pub fn int(name: &str, i: i64) -> Attribute {
    Attribute { name: name.into(), ints: vec![], i: Some(i), s: None, r#type: 2 }
}

pub fn string(name: &str, s: &str) -> Attribute {
    Attribute { name: name.into(), ints: vec![], i: None, s: Some(s.into()), r#type: 3 }
}

pub fn constant(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        dims: dims.to_vec(),
        data_type: F32,
        float_data: values.to_vec(),
        name: name.into(),
        data_location: None,
    }
}

pub fn model(
    node: Vec<NodeProto>,
    initializer: Vec<TensorProto>,
    input: Vec<ValueInfo>,
    output: Vec<ValueInfo>,
) -> ModelProto {
    let graph = GraphProto { node, name: "g".into(), initializer, input, output, value_info: vec![] };
    ModelProto { ir_version: 8, graph: Some(graph), opset_import: vec![Opset { version: 13 }] }
}

/// `images` 1×3×4×4 → Conv (weights 2, −1, 1; bias 3) `features` 1×1×4×4 → Relu `positive` → Add 10 `lifted`
/// → MaxPool 2×2 `pooled` 1×1×2×2. Nothing says the shapes of the inner tensors.
pub fn chain() -> ModelProto {
    model(
        vec![
            node("Conv", &["images", "w", "b"], &["features"], vec![]),
            node("Relu", &["features"], &["positive"], vec![]),
            node("Add", &["positive", "ten"], &["lifted"], vec![]),
            node("MaxPool", &["lifted"], &["pooled"], vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])]),
        ],
        vec![
            constant("w", &[1, 3, 1, 1], &[2.0, -1.0, 1.0]),
            constant("b", &[1], &[3.0]),
            constant("ten", &[1], &[10.0]),
        ],
        vec![value("images", F32, &[1, 3, 4, 4])],
        vec![value("pooled", F32, &[1, 1, 2, 2])],
    )
}

/// A basis as a learned pair: what a Karhunen-Loeve transform computes, as the two networks of docs/bitstream.md 5.5. All layers are maps.
pub struct LinearPair {
    /// Channels, and rows (and columns) of a cell, of every layer.
    pub layers: Vec<(usize, usize)>,
    pub mean: Vec<f32>,
    /// K vectors of as many values as `mean`.
    pub vectors: Vec<Vec<f32>>,
}

impl LinearPair {
    /// Sines of many frequencies, made orthonormal.
    pub fn new(layers: &[(usize, usize)], components: usize) -> Self {
        let d: usize = layers.iter().map(|(channels, side)| channels * side * side).sum();
        let mut vectors: Vec<Vec<f32>> = Vec::new();
        for k in 0..components {
            let mut v: Vec<f32> = (0..d).map(|i| ((i * (k + 1)) as f32 * 0.37 + k as f32).sin()).collect();
            for b in &vectors {
                let dot: f32 = v.iter().zip(b).map(|(x, y)| x * y).sum();
                v.iter_mut().zip(b).for_each(|(x, y)| *x -= dot * y);
            }
            let norm = v.iter().map(|x| x * x).sum::<f32>().sqrt();
            vectors.push(v.iter().map(|x| x / norm).collect());
        }
        Self { layers: layers.to_vec(), mean: (0..d).map(|i| (i as f32 * 0.9).cos()).collect(), vectors }
    }

    /// Where the values of each layer lie in a vector.
    fn parts(&self) -> impl Iterator<Item = (usize, usize, usize, std::ops::Range<usize>)> {
        let mut offset = 0;
        self.layers.iter().enumerate().map(move |(n, &(channels, side))| {
            let start = offset;
            offset += channels * side * side;
            (n, channels, side, start..offset)
        })
    }

    /// A strided convolution a layer, and their sum; rows and columns are open.
    pub fn reduction(&self) -> ModelProto {
        let k = self.vectors.len();
        let (mut nodes, mut constants, mut inputs, mut names) = (vec![], vec![], vec![], vec![]);
        for (n, channels, side, part) in self.parts() {
            let weights: Vec<f32> = self.vectors.iter().flat_map(|v| v[part.clone()].to_vec()).collect();
            let bias = |v: &Vec<f32>| -part.clone().map(|d| v[d] * self.mean[d]).sum::<f32>();
            let biases: Vec<f32> = self.vectors.iter().map(bias).collect();
            let (layer, w, b) = (format!("layer{n}"), format!("w{n}"), format!("b{n}"));
            let (size, dim) = (side as i64, channels as i64);
            constants.push(constant(&w, &[k as i64, dim, size, size], &weights));
            constants.push(constant(&b, &[k as i64], &biases));
            let attributes = vec![ints("kernel_shape", &[size, size]), ints("strides", &[size, size])];
            nodes.push(node("Conv", &[&layer, &w, &b], &[&format!("part{n}")], attributes));
            inputs.push(value(&layer, F32, &[1, dim, -1, -1]));
            names.push(format!("part{n}"));
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        nodes.push(node("Sum", &names, &["fused"], vec![]));
        // Rows and columns of the layers are different ones, of whatever name.
        for (n, input) in inputs.iter_mut().enumerate() {
            rename_open(input, &format!("rows{n}"), &format!("columns{n}"));
        }
        model(nodes, constants, inputs, vec![value("fused", F32, &[1, k as i64, -1, -1])])
    }

    /// A convolution of 1 x 1 a layer, and its channels put into space.
    pub fn restoration(&self) -> ModelProto {
        let k = self.vectors.len();
        let (mut nodes, mut constants, mut outputs) = (vec![], vec![], vec![]);
        for (n, channels, side, part) in self.parts() {
            let weights: Vec<f32> = part.clone().flat_map(|d| self.vectors.iter().map(move |v| v[d])).collect();
            let (layer, w, b) = (format!("restored{n}"), format!("w{n}"), format!("b{n}"));
            let d = (channels * side * side) as i64;
            constants.push(constant(&w, &[d, k as i64, 1, 1], &weights));
            constants.push(constant(&b, &[d], &self.mean[part.clone()]));
            let deep = format!("deep{n}");
            nodes.push(node("Conv", &["fused", &w, &b], &[&deep], vec![]));
            let attributes = vec![int("blocksize", side as i64), string("mode", "CRD")];
            nodes.push(node("DepthToSpace", &[&deep], &[&layer], attributes));
            let mut output = value(&layer, F32, &[1, channels as i64, -1, -1]);
            rename_open(&mut output, &format!("rows{n}"), &format!("columns{n}"));
            outputs.push(output);
        }
        let mut fused = value("fused", F32, &[1, k as i64, -1, -1]);
        rename_open(&mut fused, "rows", "columns");
        model(nodes, constants, vec![fused], outputs)
    }
}

fn rename_open(info: &mut ValueInfo, rows: &str, columns: &str) {
    let shape = info.r#type.as_mut().and_then(|t| t.tensor.as_mut()).and_then(|t| t.shape.as_mut());
    let dims = shape.expect("a value with a shape").dim.iter_mut().filter(|d| d.param.is_some());
    dims.zip([rows, columns]).for_each(|(dim, name)| dim.param = Some(name.into()));
}

/// What [`chain`] makes of 48 values, tensor by tensor.
pub fn chain_by_hand(images: &[f32]) -> [Vec<f32>; 4] {
    let features: Vec<f32> = (0..16).map(|n| 2.0 * images[n] - images[16 + n] + images[32 + n] + 3.0).collect();
    let positive: Vec<f32> = features.iter().map(|v| v.max(0.0)).collect();
    let lifted: Vec<f32> = positive.iter().map(|v| v + 10.0).collect();
    let most = |n: usize| {
        let at = n / 2 * 8 + n % 2 * 2;
        [at, at + 1, at + 4, at + 5].into_iter().map(|n| lifted[n]).fold(f32::MIN, f32::max)
    };
    let pooled = (0..4).map(most).collect();
    [features, positive, lifted, pooled]
}

pub fn images() -> Vec<f32> {
    (0..48).map(|n| ((n * 29) % 17) as f32 - 8.0).collect()
}

pub fn options(inputs: &[&str], outputs: &[&str]) -> ModelOptions {
    let names = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect();
    ModelOptions { inputs: names(inputs), outputs: names(outputs), ..ModelOptions::default() }
}

/// Opens a model made here; a missing library fails the test with what to do.
pub fn open(model: &ModelProto, inputs: &[&str], outputs: &[&str]) -> fcm_infer::Result<Model> {
    let file = File::new("model.onnx", &model.encode_to_vec());
    Model::open(file.path(), &options(inputs, outputs))
}

pub fn run(model: &mut Model, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
    model.run(inputs).expect("the inputs fit").iter().map(<[f32]>::to_vec).collect()
}
