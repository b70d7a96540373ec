//! Reads an ONNX file and writes the part of it between named tensors.

use crate::onnx::{GraphProto, ModelProto, Node, SparseTensor, Tensor, ValueInfo, ValueName};
use crate::{Error, Result, names};
use prost::Message;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Protocol buffers have at most this many bytes, and ONNX Runtime takes no larger ones.
const MAX_FILE: u64 = (1 << 31) - 1;
/// Most dimensions of a tensor: what `other/tensors` can say.
const MAX_RANK: usize = 16;

/// A whole model, its names indexed.
pub(crate) struct Graph {
    path: PathBuf,
    model: ModelProto,
    nodes: Vec<Node>,
    /// Which node makes a tensor.
    makers: HashMap<String, usize>,
    /// Inputs that are no initialisers, in order.
    inputs: Vec<String>,
    outputs: Vec<String>,
    /// Names of initialisers, dense and sparse ones.
    constants: HashSet<String>,
    /// What the file says of tensors.
    infos: HashMap<String, ValueInfo>,
}

/// Initialisers in their order, with their names.
fn initializers(graph: &GraphProto) -> Result<Vec<Tensor>, prost::DecodeError> {
    graph.initializer.iter().map(|bytes| Tensor::decode(bytes.as_slice())).collect()
}

fn sparse_initializers(graph: &GraphProto) -> Result<Vec<Tensor>, prost::DecodeError> {
    let values = |bytes: &Vec<u8>| Ok(SparseTensor::decode(bytes.as_slice())?.values.unwrap_or_default());
    graph.sparse_initializer.iter().map(values).collect()
}

/// The name in a value or an annotation; unreadable ones have none.
fn name_in(bytes: &[u8]) -> Option<String> {
    ValueName::decode(bytes).ok()?.name
}

/// The batch of a tensor: an open first dimension becomes 1.
fn fix_batch(mut info: ValueInfo) -> ValueInfo {
    if let Some(dims) = info.dims_mut()
        && dims.len() > 1
        && let Some(first) = dims.first_mut()
        && first.dim_value.is_none_or(|v| v <= 0)
    {
        *first = crate::onnx::Dim { dim_value: Some(1), dim_param: None };
    }
    info
}

impl Graph {
    /// Reads and indexes a file.
    pub fn read(path: &Path) -> Result<Self> {
        let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
        let size = std::fs::metadata(path).map_err(unreadable)?.len();
        if size > MAX_FILE {
            return Err(Error::model(path, format!("the file has {size} bytes, an ONNX file at most {MAX_FILE}")));
        }
        let bytes = std::fs::read(path).map_err(unreadable)?;
        Self::parse(path, &bytes)
    }

    /// Indexes the bytes of a file; `path` is for messages.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let not_onnx = |why: &str| Error::model(path, format!("this is no ONNX file: {why}"));
        let undecodable = |e: prost::DecodeError| not_onnx(&e.to_string());
        let model = ModelProto::decode(bytes).map_err(undecodable)?;
        let graph = model.graph.as_ref().filter(|graph| !graph.output.is_empty());
        let graph = graph.ok_or_else(|| not_onnx("there is no graph with outputs in it"))?;

        let nodes = graph.node.iter().map(|bytes| Node::decode(bytes.as_slice()));
        let nodes = nodes.collect::<Result<Vec<_>, _>>().map_err(undecodable)?;
        let mut makers = HashMap::new();
        for (n, node) in nodes.iter().enumerate() {
            for output in node.output.iter().filter(|name| !name.is_empty()) {
                if makers.insert(output.clone(), n).is_some() {
                    return Err(Error::model(path, format!("two nodes make the tensor {output:?}")));
                }
            }
        }
        let mut tensors = initializers(graph).map_err(undecodable)?;
        tensors.extend(sparse_initializers(graph).map_err(undecodable)?);
        if tensors.iter().any(Tensor::is_external) || nodes.iter().any(Node::has_external_data) {
            let reason = "its weights are in other files (external data), which is not supported; \
                          onnx.save_model(…, save_as_external_data=False) makes one file of them";
            return Err(Error::model(path, reason));
        }
        let constants: HashSet<String> = tensors.into_iter().filter_map(|t| t.name).collect();
        let mut infos = HashMap::new();
        for bytes in graph.value_info.iter().chain(&graph.output).chain(&graph.input) {
            let info = ValueInfo::decode(bytes.as_slice()).map_err(undecodable)?;
            if let Some(name) = info.name.clone() {
                infos.insert(name, info);
            }
        }
        let inputs = graph.input.iter().filter_map(|b| name_in(b)).filter(|name| !constants.contains(name)).collect();
        let outputs = graph.output.iter().filter_map(|b| name_in(b)).collect();
        Ok(Self { path: path.to_owned(), nodes, makers, inputs, outputs, constants, infos, model })
    }

    fn graph(&self) -> &GraphProto {
        self.model.graph.as_ref().expect("parse() lets no model pass without a graph")
    }

    /// Fails for a name that is no tensor between the inputs and the outputs.
    fn check_name(&self, name: &str) -> Result<()> {
        if self.makers.contains_key(name) || self.inputs.iter().any(|input| input == name) {
            return Ok(());
        }
        if self.constants.contains(name) {
            return Err(Error::cut(&self.path, format!("{name:?} is a constant, not a tensor that is computed")));
        }
        let all = self.inputs.iter().chain(self.makers.keys()).map(String::as_str);
        let near = names::near(name, all, self.outputs.iter().map(String::as_str));
        Err(Error::UnknownTensor { path: self.path.clone(), name: name.to_owned(), near })
    }

    fn check_names(&self, what: &str, list: &[String]) -> Result<()> {
        for (n, name) in list.iter().enumerate() {
            self.check_name(name)?;
            if list[..n].contains(name) {
                return Err(Error::cut(&self.path, format!("the {what} {name:?} is named twice")));
            }
        }
        Ok(())
    }

    /// Which of `inputs` have no type and shape in the file; those are to be found by running what comes before them.
    pub fn untyped(&self, inputs: &[String]) -> Result<Vec<String>> {
        self.check_names("input", inputs)?;
        let known = |name: &String| self.infos.get(name).is_some_and(|info| fix_batch(info.clone()).is_fixed());
        Ok(inputs.iter().filter(|name| self.makers.contains_key(*name) && !known(name)).cloned().collect())
    }

    /// The names of the nodes that `outputs` need when computing stops at `inputs`, and of the tensors they read.
    fn needed(&self, inputs: &HashSet<&str>, outputs: &[String]) -> (Vec<bool>, HashSet<String>) {
        let mut keep = vec![false; self.nodes.len()];
        let mut seen: HashSet<String> = HashSet::new();
        let mut open: Vec<String> = outputs.to_vec();
        while let Some(name) = open.pop() {
            if !seen.insert(name.clone()) || inputs.contains(name.as_str()) {
                continue;
            }
            if let Some(&maker) = self.makers.get(&name)
                && !std::mem::replace(&mut keep[maker], true)
            {
                self.nodes[maker].needs(&mut open);
            }
        }
        (keep, seen)
    }

    /// The model from `inputs` to `outputs`, with fixed input shapes, as the bytes of an ONNX file. Empty lists mean the
    /// model's own. `found` has the types of inputs that [`Graph::untyped`] named.
    pub fn cut(&self, inputs: &[String], outputs: &[String], found: &HashMap<String, ValueInfo>) -> Result<Vec<u8>> {
        self.check_names("input", inputs)?;
        self.check_names("output", outputs)?;
        let outputs = if outputs.is_empty() { &self.outputs } else { outputs };
        if let Some(both) = outputs.iter().find(|name| inputs.contains(name)) {
            return Err(Error::cut(&self.path, format!("{both:?} is named as input and as output")));
        }
        let stops: HashSet<&str> = inputs.iter().map(String::as_str).collect();
        let (keep, read) = self.needed(&stops, outputs);
        let inputs = if inputs.is_empty() {
            // A front half may not need all of them.
            self.inputs.iter().filter(|name| read.contains(*name)).cloned().collect()
        } else {
            self.check_reach(inputs, outputs, &read, &keep)?;
            inputs.to_vec()
        };
        if inputs.is_empty() {
            return Err(Error::cut(&self.path, format!("{} depend on no input", outputs.join(", "))));
        }
        let input_infos = inputs.iter().map(|name| self.input_info(name, found)).collect::<Result<Vec<_>>>()?;
        let graph =
            self.part(&keep, &read, &input_infos, outputs).map_err(|e| Error::model(&self.path, e.to_string()))?;
        Ok(ModelProto { graph: Some(graph), ..self.model.clone() }.encode_to_vec())
    }

    /// The whole model with inputs of these `dims`, as the bytes of an ONNX file. Open dimensions take any value.
    pub fn with_dims(&self, dims: &[Vec<usize>]) -> Result<Vec<u8>> {
        if self.inputs.len() != dims.len() {
            let (have, names) = (self.inputs.len(), self.inputs.join(", "));
            let reason = format!("it has {have} inputs ({names}), {} tensors are to go in", dims.len());
            return Err(Error::model(&self.path, reason));
        }
        let mut found = HashMap::new();
        for (name, dims) in self.inputs.iter().zip(dims) {
            let info = self.infos.get(name).filter(|info| info.takes(dims));
            let Some(elem_type) = info.and_then(ValueInfo::elem_type) else {
                let has = self.infos.get(name).map_or_else(|| "unknown".to_owned(), ValueInfo::dims_text);
                let given: Vec<String> = dims.iter().map(usize::to_string).collect();
                let reason = format!("its input {name:?} has the shape {has}, {} is to go in", given.join("×"));
                return Err(Error::model(&self.path, reason));
            };
            found.insert(name.clone(), ValueInfo::tensor(name, elem_type, dims));
        }
        self.cut(&self.inputs, &[], &found)
    }

    /// Fails when the named inputs and what the outputs read do not fit.
    fn check_reach(&self, inputs: &[String], outputs: &[String], read: &HashSet<String>, keep: &[bool]) -> Result<()> {
        let listed = outputs.join(", ");
        if let Some(idle) = inputs.iter().find(|name| !read.contains(*name)) {
            return Err(Error::cut(&self.path, format!("the input {idle:?} is not needed for {listed}")));
        }
        if let Some(other) = self.inputs.iter().find(|name| read.contains(*name) && !inputs.contains(name)) {
            let reason =
                format!("{listed} need the model's input {other:?} too, past the inputs {}", inputs.join(", "));
            return Err(Error::cut(&self.path, reason));
        }
        let made_again = inputs.iter().find(|name| self.makers.get(*name).is_some_and(|&maker| keep[maker]));
        if let Some(input) = made_again {
            let reason = format!("the node that makes the input {input:?} makes another tensor that {listed} need");
            return Err(Error::cut(&self.path, reason));
        }
        Ok(())
    }

    /// Name, type and fixed shape of an input.
    fn input_info(&self, name: &str, found: &HashMap<String, ValueInfo>) -> Result<ValueInfo> {
        let info = found.get(name).or_else(|| self.infos.get(name)).cloned();
        let mut info = fix_batch(info.unwrap_or_else(|| ValueInfo::untyped(name)));
        if info.is_fixed() {
            return Ok(info);
        }
        if info.dims_mut().is_none_or(|dims| dims.len() > MAX_RANK) {
            let reason = format!("its input {name:?} has no shape, or one of more than {MAX_RANK} dimensions");
            return Err(Error::model(&self.path, reason));
        }
        let reason = format!(
            "its input {name:?} has the open shape {}; only the batch may be open, fix the rest with \
             python3 -m onnxruntime.tools.make_dynamic_shape_fixed",
            info.dims_text()
        );
        Err(Error::model(&self.path, reason))
    }

    /// The graph of the nodes to keep.
    fn part(
        &self,
        keep: &[bool],
        read: &HashSet<String>,
        inputs: &[ValueInfo],
        outputs: &[String],
    ) -> Result<GraphProto, prost::DecodeError> {
        let whole = self.graph();
        let is_read = |name: Option<&String>| name.is_some_and(|name| read.contains(name));
        let kept_constants = |bytes: &[Vec<u8>], tensors: Vec<Tensor>| -> Vec<Vec<u8>> {
            let pairs = bytes.iter().zip(tensors);
            pairs.filter(|(_, tensor)| is_read(tensor.name.as_ref())).map(|(bytes, _)| bytes.clone()).collect()
        };
        // Old files list initialisers among the inputs.
        let constant_inputs = whole.input.iter().filter(|bytes| {
            let name = name_in(bytes);
            name.as_ref().is_some_and(|name| self.constants.contains(name)) && is_read(name.as_ref())
        });
        let made = |name: &str| self.makers.get(name).is_some_and(|&maker| keep[maker]);
        let describes_part =
            |bytes: &&Vec<u8>| name_in(bytes).is_some_and(|name| made(&name) && !outputs.contains(&name));
        // Shapes with open dimensions would stand against those that follow from the fixed inputs.
        let is_fixed = |bytes: &&Vec<u8>| ValueInfo::decode(bytes.as_slice()).is_ok_and(|info| info.is_fixed());
        Ok(GraphProto {
            node: whole.node.iter().zip(keep).filter(|(_, keep)| **keep).map(|(bytes, _)| bytes.clone()).collect(),
            name: whole.name.clone(),
            initializer: kept_constants(&whole.initializer, initializers(whole)?),
            doc_string: whole.doc_string.clone(),
            input: inputs.iter().map(ValueInfo::encode_to_vec).chain(constant_inputs.cloned()).collect(),
            output: outputs.iter().map(|name| self.output_info(name).encode_to_vec()).collect(),
            value_info: whole.value_info.iter().filter(describes_part).filter(is_fixed).cloned().collect(),
            quantization_annotation: whole
                .quantization_annotation
                .iter()
                .filter(|bytes| is_read(name_in(bytes).as_ref()))
                .cloned()
                .collect(),
            sparse_initializer: kept_constants(&whole.sparse_initializer, sparse_initializers(whole)?),
            metadata_props: whole.metadata_props.clone(),
        })
    }

    /// Name of an output, its type and shape where they are known.
    fn output_info(&self, name: &str) -> ValueInfo {
        let Some(info) = self.infos.get(name) else { return ValueInfo::untyped(name) };
        let mut info = info.clone();
        if !info.is_fixed()
            && let Some(tensor) = info.r#type.as_mut().and_then(|t| t.tensor_type.as_mut())
        {
            tensor.shape = None;
        }
        info
    }
}
