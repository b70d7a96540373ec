//! Models, whole and cut, against results known by hand; what is refused and how.

mod common;

use common::*;
use fcm_infer::{Dtype, Error, Model};
use prost::Message;

#[test]
fn whole_model_gives_the_numbers_known_by_hand() {
    let mut model = open(&chain(), &[], &[]).unwrap();
    assert_eq!(model.inputs()[0].to_string(), "images: f32 1×3×4×4");
    assert_eq!(model.outputs()[0].to_string(), "pooled: f32 1×1×2×2");
    let images = images();
    assert_eq!(run(&mut model, &[&images]), [chain_by_hand(&images)[3].clone()]);
    // And again: nothing of the first run is left over.
    let zeros = vec![0.0; 48];
    assert_eq!(run(&mut model, &[&zeros]), [vec![13.0; 4]]);
}

#[test]
fn front_and_back_together_are_the_whole_at_every_cut() {
    let images = images();
    let expected = chain_by_hand(&images);
    for (n, name) in ["features", "positive", "lifted"].into_iter().enumerate() {
        let mut front = open(&chain(), &[], &[name]).unwrap();
        let mut back = open(&chain(), &[name], &[]).unwrap();
        assert_eq!(back.inputs()[0].to_string(), format!("{name}: f32 1×1×4×4"));
        assert_eq!(front.outputs(), back.inputs(), "{name}");
        let between = run(&mut front, &[&images]);
        assert_eq!(between, [expected[n].clone()], "{name}");
        assert_eq!(run(&mut back, &[&between[0]]), [expected[3].clone()], "{name}");
    }
    let mut middle = open(&chain(), &["features"], &["lifted"]).unwrap();
    assert_eq!(run(&mut middle, &[&expected[0]]), [expected[2].clone()]);
}

#[test]
fn several_tensors_come_in_the_order_asked_for() {
    let images = images();
    let expected = chain_by_hand(&images);
    for order in [["lifted", "features"], ["features", "lifted"]] {
        let mut front = open(&chain(), &[], &order).unwrap();
        let got = run(&mut front, &[&images]);
        let by_name =
            |name: &str| expected[["features", "positive", "lifted"].iter().position(|n| *n == name).unwrap()].clone();
        assert_eq!(got, order.map(by_name));
    }
    let sum = model(
        vec![node("Sub", &["a", "b"], &["d"], vec![])],
        vec![],
        vec![value("a", F32, &[2]), value("b", F32, &[2])],
        vec![value("d", F32, &[2])],
    );
    let mut swapped = open(&sum, &["b", "a"], &[]).unwrap();
    assert_eq!(run(&mut swapped, &[&[1.0, 2.0], &[10.0, 20.0]]), [vec![9.0, 18.0]]);
}

#[test]
fn shapes_at_the_cut_come_from_the_file_where_it_says_them() {
    let mut chain = chain();
    chain.graph.as_mut().unwrap().value_info.push(value("positive", F32, &[1, 1, 4, 4]));
    let mut back = open(&chain, &["positive"], &[]).unwrap();
    let lifted = vec![1.0; 16];
    assert_eq!(run(&mut back, &[&lifted]), [vec![11.0; 4]]);
}

#[test]
fn open_batch_becomes_one() {
    let mut chain = chain();
    let graph = chain.graph.as_mut().unwrap();
    graph.input = vec![value("images", F32, &[-1, 3, 4, 4])];
    graph.output = vec![value("pooled", F32, &[-1, 1, 2, 2])];
    let model = open(&chain, &[], &[]).unwrap();
    assert_eq!((model.inputs()[0].dims[0], model.outputs()[0].dims[0]), (1, 1));
    let back = open(&chain, &["lifted"], &["pooled"]).unwrap();
    assert_eq!(back.inputs()[0].dims, [1, 1, 4, 4]);
}

#[test]
fn other_open_dimensions_are_refused_with_what_to_do() {
    let mut chain = chain();
    chain.graph.as_mut().unwrap().input = vec![value("images", F32, &[1, 3, -1, 4])];
    let error = open(&chain, &[], &[]).unwrap_err().to_string();
    assert!(
        error.contains("\"images\" has the open shape 1×3×N×4") && error.contains("make_dynamic_shape_fixed"),
        "{error}"
    );
}

#[test]
fn unknown_tensor_names_suggest_near_ones() {
    for (inputs, outputs) in [(vec![], vec!["feature"]), (vec!["feature"], vec![])] {
        let Err(Error::UnknownTensor { name, near, .. }) = open(&chain(), &inputs, &outputs) else {
            panic!("the name is unknown: {inputs:?} {outputs:?}")
        };
        assert_eq!((name.as_str(), near[0].as_str()), ("feature", "features"));
    }
    let error = open(&chain(), &[], &["zzzzzzzzz"]).unwrap_err().to_string();
    assert!(error.contains("there is no tensor \"zzzzzzzzz\"; there are pooled"), "{error}");
}

#[test]
fn cuts_that_make_no_sense_say_why() {
    let error = |inputs: &[&str], outputs: &[&str]| match open(&chain(), inputs, outputs) {
        Err(error @ Error::Cut { .. }) => error.to_string(),
        other => panic!("{inputs:?} {outputs:?}: {other:?}"),
    };
    assert!(error(&["lifted"], &["features"]).contains("\"lifted\" is not needed for features"));
    assert!(error(&["w"], &[]).contains("\"w\" is a constant"));
    assert!(error(&["lifted", "lifted"], &[]).contains("\"lifted\" is named twice"));
    assert!(error(&["lifted"], &["lifted"]).contains("as input and as output"));
    assert!(error(&["features"], &["pooled", "features"]).contains("as input and as output"));
    let two = model(
        vec![node("Add", &["a", "b"], &["s"], vec![]), node("Neg", &["s"], &["n"], vec![])],
        vec![],
        vec![value("a", F32, &[2]), value("b", F32, &[2])],
        vec![value("n", F32, &[2])],
    );
    let needs = open(&two, &["a"], &[]).unwrap_err().to_string();
    assert!(needs.contains("n need the model's input \"b\" too"), "{needs}");
    let split = model(
        vec![node("Split", &["a"], &["x", "y"], vec![int("axis", 0)]), node("Add", &["x", "y"], &["s"], vec![])],
        vec![],
        vec![value("a", F32, &[2])],
        vec![value("s", F32, &[1])],
    );
    let half = open(&split, &["x", "a"], &[]).unwrap_err().to_string();
    assert!(half.contains("makes the input \"x\" makes another tensor that s need"), "{half}");
    assert_eq!(run(&mut open(&split, &["x", "y"], &[]).unwrap(), &[&[3.0], &[4.0]]), [vec![7.0]]);
}

#[test]
fn half_precision_models_take_and_give_f32() {
    let half = model(
        vec![node("Relu", &["x"], &["y"], vec![]), node("Neg", &["y"], &["z"], vec![])],
        vec![],
        vec![value("x", F16, &[1, 4])],
        vec![value("z", F16, &[1, 4])],
    );
    let mut whole = open(&half, &[], &[]).unwrap();
    assert_eq!((whole.inputs()[0].dtype, whole.outputs()[0].dtype), (Dtype::F16, Dtype::F16));
    assert_eq!(run(&mut whole, &[&[-1.0, 0.5, 2.0, 1024.0]]), [vec![0.0, -0.5, -2.0, -1024.0]]);
    let mut back = open(&half, &["y"], &[]).unwrap();
    assert_eq!(run(&mut back, &[&[1.0, 2.0, 3.0, 4.0]]), [vec![-1.0, -2.0, -3.0, -4.0]]);
}

#[test]
fn other_types_are_refused_by_name() {
    let integers = model(
        vec![node("Neg", &["x"], &["y"], vec![])],
        vec![],
        vec![value("x", I64, &[4])],
        vec![value("y", I64, &[4])],
    );
    let error = open(&integers, &[], &[]).unwrap_err().to_string();
    assert!(error.contains("tensor \"x\" has values of type i64, legal are f32 and f16"), "{error}");
}

#[test]
fn outputs_whose_size_depends_on_values_are_refused() {
    let nonzero = model(
        vec![node("NonZero", &["x"], &["where"], vec![]), node("Cast", &["where"], &["y"], vec![int("to", 1)])],
        vec![],
        vec![value("x", F32, &[4])],
        vec![value("y", F32, &[1, -1])],
    );
    let error = open(&nonzero, &[], &[]).unwrap_err().to_string();
    assert!(error.contains("as many as depend on what goes in"), "{error}");
}

#[test]
fn wrong_inputs_are_refused_and_the_model_goes_on() {
    let mut model = open(&chain(), &[], &[]).unwrap();
    let images = images();
    let error = model.run(&[]).err().unwrap().to_string();
    assert_eq!(error, "0 input tensors, the model takes 1");
    let error = model.run(&[&images[..47]]).err().unwrap().to_string();
    assert_eq!(error, "47 values for the input images: f32 1×3×4×4, which has 48");
    assert_eq!(run(&mut model, &[&images]).len(), 1);
}

#[test]
fn what_is_no_usable_file_is_named() {
    let missing = Model::open("no/such/model.onnx", &options(&[], &[])).unwrap_err();
    assert!(
        matches!(missing, Error::Unreadable { .. }) && missing.to_string().contains("no/such/model.onnx"),
        "{missing}"
    );
    for bytes in [&b"#!/bin/sh\necho this is no model\n"[..], b"", b"\x08\x08"] {
        let file = File::new("not.onnx", bytes);
        let error = Model::open(file.path(), &options(&[], &[])).unwrap_err().to_string();
        assert!(error.contains("this is no ONNX file"), "{error}");
    }
    let bytes = chain().encode_to_vec();
    for length in 0..bytes.len() {
        // No panic and no success on a part of a file.
        let file = File::new("short.onnx", &bytes[..length]);
        assert!(Model::open(file.path(), &options(&[], &["pooled"])).is_err(), "{length} bytes");
    }
}

#[test]
fn unsupported_operators_and_external_weights_are_named() {
    let unknown = model(
        vec![node("Frobnicate", &["x"], &["y"], vec![])],
        vec![],
        vec![value("x", F32, &[4])],
        vec![value("y", F32, &[4])],
    );
    let error = open(&unknown, &[], &[]).unwrap_err().to_string();
    assert!(error.contains("ONNX Runtime does not take it") && error.contains("Frobnicate"), "{error}");
    let mut chain = chain();
    chain.graph.as_mut().unwrap().initializer[0].data_location = Some(1);
    let error = open(&chain, &[], &[]).unwrap_err().to_string();
    assert!(error.contains("external data"), "{error}");
}

#[test]
fn threads_out_of_range_are_refused() {
    let file = File::new("model.onnx", &chain().encode_to_vec());
    let mut wanted = options(&[], &[]);
    wanted.threads = 65;
    let error = Model::open(file.path(), &wanted).unwrap_err().to_string();
    assert_eq!(error, "65 threads, 0 to 64 are legal");
    wanted.threads = 0;
    assert!(Model::open(file.path(), &wanted).is_ok());
}
