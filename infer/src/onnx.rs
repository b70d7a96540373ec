//! The few messages of an ONNX file that cutting needs. Nodes, initialisers and everything else that is only carried over
//! stay bytes, so that nothing in them is lost; what is read of them is in the messages without `Raw` fields around it.
//!
//! Field numbers are those of onnx.proto (IR version 13).

use prost::Message;

/// `ModelProto`, all fields.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ModelProto {
    #[prost(int64, optional, tag = "1")]
    pub ir_version: Option<i64>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub producer_name: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub producer_version: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub domain: Option<Vec<u8>>,
    #[prost(int64, optional, tag = "5")]
    pub model_version: Option<i64>,
    #[prost(bytes = "vec", optional, tag = "6")]
    pub doc_string: Option<Vec<u8>>,
    #[prost(message, optional, tag = "7")]
    pub graph: Option<GraphProto>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    pub opset_import: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "14")]
    pub metadata_props: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "20")]
    pub training_info: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "25")]
    pub functions: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "26")]
    pub configuration: Vec<Vec<u8>>,
}

/// `GraphProto`, all fields.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct GraphProto {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub node: Vec<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub name: Option<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "5")]
    pub initializer: Vec<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "10")]
    pub doc_string: Option<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "11")]
    pub input: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "12")]
    pub output: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "13")]
    pub value_info: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "14")]
    pub quantization_annotation: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "15")]
    pub sparse_initializer: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "16")]
    pub metadata_props: Vec<Vec<u8>>,
}

/// What is read of a `NodeProto`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Node {
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    #[prost(string, optional, tag = "3")]
    pub name: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub op_type: Option<String>,
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<Attribute>,
}

/// What is read of an `AttributeProto`: the graphs in it (of If, Loop and Scan), and external data in tensors of Constant.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Attribute {
    #[prost(message, optional, tag = "5")]
    pub t: Option<Tensor>,
    #[prost(message, optional, tag = "6")]
    pub g: Option<Subgraph>,
    #[prost(message, repeated, tag = "11")]
    pub graphs: Vec<Subgraph>,
}

/// What is read of a `GraphProto` in an attribute.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Subgraph {
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<Tensor>,
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueName>,
}

/// What is read of a `TensorProto`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Tensor {
    #[prost(string, optional, tag = "8")]
    pub name: Option<String>,
    /// 1 = the values are in another file.
    #[prost(int32, optional, tag = "14")]
    pub data_location: Option<i32>,
}

/// What is read of a `SparseTensorProto`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SparseTensor {
    #[prost(message, optional, tag = "1")]
    pub values: Option<Tensor>,
}

/// What is read of a `ValueInfoProto` or a `TensorAnnotation` for its name.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ValueName {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
}

/// `ValueInfoProto`: name, type and shape of a tensor.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ValueInfo {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<Type>,
}

/// `TypeProto` of a tensor.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Type {
    #[prost(message, optional, tag = "1")]
    pub tensor_type: Option<TensorType>,
}

/// `TypeProto.Tensor`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorType {
    #[prost(int32, optional, tag = "1")]
    pub elem_type: Option<i32>,
    #[prost(message, optional, tag = "2")]
    pub shape: Option<Shape>,
}

/// `TensorShapeProto`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Shape {
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<Dim>,
}

/// `TensorShapeProto.Dimension`: a number, a name for an open one, or nothing.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Dim {
    #[prost(int64, optional, tag = "1")]
    pub dim_value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    pub dim_param: Option<String>,
}

/// `TensorProto.DataType` of the types that are run.
pub(crate) const ELEM_F32: i32 = 1;
pub(crate) const ELEM_F16: i32 = 10;

impl ValueInfo {
    /// A value without a type: ONNX Runtime finds it out.
    pub fn untyped(name: &str) -> Self {
        Self { name: Some(name.to_owned()), r#type: None }
    }

    /// A tensor with a known shape.
    pub fn tensor(name: &str, elem_type: i32, dims: &[usize]) -> Self {
        let dim = |&d: &usize| Dim { dim_value: i64::try_from(d).ok(), dim_param: None };
        let shape = Shape { dim: dims.iter().map(dim).collect() };
        let tensor_type = TensorType { elem_type: Some(elem_type), shape: Some(shape) };
        Self { name: Some(name.to_owned()), r#type: Some(Type { tensor_type: Some(tensor_type) }) }
    }

    /// The dimensions, if there are any.
    pub fn dims_mut(&mut self) -> Option<&mut Vec<Dim>> {
        Some(&mut self.r#type.as_mut()?.tensor_type.as_mut()?.shape.as_mut()?.dim)
    }

    fn tensor_type(&self) -> Option<&TensorType> {
        self.r#type.as_ref()?.tensor_type.as_ref()
    }

    fn dims(&self) -> Option<&[Dim]> {
        Some(&self.tensor_type()?.shape.as_ref()?.dim)
    }

    /// The type of its values.
    pub fn elem_type(&self) -> Option<i32> {
        self.tensor_type()?.elem_type
    }

    /// Whether every dimension is a number above 0.
    pub fn is_fixed(&self) -> bool {
        self.dims().is_some_and(|dims| dims.iter().all(|d| d.dim_value.is_some_and(|v| v > 0)))
    }

    /// Whether it can have these dimensions: open ones can have any value.
    pub fn takes(&self, dims: &[usize]) -> bool {
        self.dims().is_some_and(|own| {
            let fits = |(own, &d): (&Dim, &usize)| own.dim_value.is_none_or(|v| v <= 0 || usize::try_from(v) == Ok(d));
            own.len() == dims.len() && own.iter().zip(dims).all(fits)
        })
    }

    /// The dimensions for messages, open ones by their names.
    pub fn dims_text(&self) -> String {
        let dim = |d: &Dim| match (d.dim_value, &d.dim_param) {
            (Some(value), _) => value.to_string(),
            (None, Some(param)) => param.clone(),
            (None, None) => "?".to_owned(),
        };
        self.dims().map_or_else(|| "unknown".to_owned(), |dims| dims.iter().map(dim).collect::<Vec<_>>().join("×"))
    }
}

impl Subgraph {
    /// Adds the names that the graph takes from the graph around it.
    pub fn captures(&self, names: &mut Vec<String>) {
        let mut local: Vec<&str> = Vec::new();
        local.extend(self.initializer.iter().filter_map(|t| t.name.as_deref()));
        local.extend(self.node.iter().flat_map(|n| n.output.iter().map(String::as_str)));
        let mut used = Vec::new();
        for node in &self.node {
            node.needs(&mut used);
        }
        used.extend(self.output.iter().filter_map(|o| o.name.clone()));
        // The inputs of the graph itself stay in the list: they are no names of the outer graph, where names are unique.
        used.retain(|name| !local.contains(&name.as_str()));
        names.append(&mut used);
    }

    fn has_external_data(&self) -> bool {
        self.initializer.iter().any(Tensor::is_external) || self.node.iter().any(Node::has_external_data)
    }
}

impl Node {
    /// Adds all names that the node needs.
    pub fn needs(&self, names: &mut Vec<String>) {
        names.extend(self.input.iter().filter(|name| !name.is_empty()).cloned());
        for attribute in &self.attribute {
            attribute.g.iter().chain(&attribute.graphs).for_each(|graph| graph.captures(names));
        }
    }

    /// Whether a tensor in the node lies in another file.
    pub fn has_external_data(&self) -> bool {
        self.attribute.iter().any(|a| {
            a.t.as_ref().is_some_and(Tensor::is_external)
                || a.g.iter().chain(&a.graphs).any(Subgraph::has_external_data)
        })
    }
}

impl Tensor {
    /// Whether the values lie in another file.
    pub fn is_external(&self) -> bool {
        self.data_location == Some(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_only_carried_over_come_back() {
        let node = vec![0x22, 0x04, b'R', b'e', b'l', b'u', 0xfa, 0x3f, 0x01, 0x55];
        let graph = GraphProto { node: vec![node.clone()], ..GraphProto::default() };
        let model = ModelProto { ir_version: Some(8), graph: Some(graph), ..ModelProto::default() };
        let again = ModelProto::decode(model.encode_to_vec().as_slice()).unwrap();
        assert_eq!(again, model);
        assert_eq!(again.graph.unwrap().node[0], node);
        assert_eq!(Node::decode(node.as_slice()).unwrap().op_type.as_deref(), Some("Relu"));
    }

    #[test]
    fn graphs_in_attributes_need_what_they_do_not_define() {
        let inner = Node { input: vec!["x".into(), "k".into()], output: vec!["y".into()], ..Node::default() };
        let graph = Subgraph {
            node: vec![inner],
            initializer: vec![Tensor { name: Some("k".into()), data_location: None }],
            output: vec![ValueName { name: Some("y".into()) }],
        };
        let attribute = Attribute { t: None, g: Some(graph), graphs: vec![] };
        let node = Node { input: vec!["cond".into()], attribute: vec![attribute], ..Node::default() };
        let mut names = Vec::new();
        node.needs(&mut names);
        assert_eq!(names, ["cond", "x"]);
    }
}
