//! Feature tensors as `ndarray` views (feature `ndarray`): `[C, H, W]` arrays and vectors, without copying.

use super::{Layer, Shape, TensorMut, TensorRef};
use crate::error::{Error, Result};
use half::f16;
use ndarray::{ArrayBase, ArrayView, ArrayViewMut, Data, Dimension};

impl Shape {
    /// Shape of an array of dimensions `[C, H, W]`, `[1, C, H, W]` or `[C]`.
    ///
    /// # Errors
    /// `InvalidInput` for another number of dimensions, a batch that is not 1, or a dimension over 2^32 − 1.
    pub fn of_array<S: Data, D: Dimension>(array: &ArrayBase<S, D>) -> Result<Self> {
        let size = |n: usize| {
            u32::try_from(n).map_err(|_| Error::input(format!("a dimension of {n}, the largest is {}", u32::MAX)))
        };
        match *array.shape() {
            [n] => Ok(Self::vector(size(n)?)),
            [c, h, w] | [1, c, h, w] => Ok(Self::chw(size(c)?, size(h)?, size(w)?)),
            ref other => {
                Err(Error::input(format!("an array of shape {other:?}, legal are [C, H, W], [1, C, H, W] and [C]")))
            }
        }
    }
}

impl Layer {
    /// Whether an array of this shape can be handed in for this layer.
    pub fn takes_array<S: Data, D: Dimension>(&self, array: &ArrayBase<S, D>) -> bool {
        Shape::of_array(array).is_ok_and(|s| s == self.shape)
    }
}

fn not_dense(shape: &[usize]) -> Error {
    Error::input(format!(
        "an array of shape {shape:?} that is not dense in standard order; make it so with as_standard_layout"
    ))
}

macro_rules! views {
    ($value:ty, $variant:ident) => {
        impl<'a, D: Dimension> TryFrom<ArrayView<'a, $value, D>> for TensorRef<'a> {
            type Error = Error;

            fn try_from(array: ArrayView<'a, $value, D>) -> Result<Self> {
                let shape = array.shape().to_vec();
                array.to_slice().map(TensorRef::$variant).ok_or_else(|| not_dense(&shape))
            }
        }

        impl<'a, D: Dimension> TryFrom<ArrayViewMut<'a, $value, D>> for TensorMut<'a> {
            type Error = Error;

            fn try_from(array: ArrayViewMut<'a, $value, D>) -> Result<Self> {
                let shape = array.shape().to_vec();
                array.into_slice().map(TensorMut::$variant).ok_or_else(|| not_dense(&shape))
            }
        }
    };
}

views!(f32, F32);
views!(f16, F16);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dtype;
    use ndarray::{Array1, Array3, Array4, Axis, Slice};

    #[test]
    fn dense_arrays_are_viewed_and_others_are_named() {
        let mut array = Array3::<f32>::from_shape_fn((2, 3, 4), |(c, y, x)| (c * 12 + y * 4 + x) as f32);
        let TensorRef::F32(values) = TensorRef::try_from(array.view()).unwrap() else { panic!("binary32") };
        assert!(values.iter().enumerate().all(|(i, &v)| v == i as f32));
        assert_eq!(TensorMut::try_from(array.view_mut()).unwrap().len(), 24);
        let error = TensorRef::try_from(array.slice_axis(Axis(2), Slice::from(..2))).unwrap_err();
        assert!(error.to_string().starts_with("an array of shape [2, 3, 2] that is not dense"), "{error}");
    }

    #[test]
    fn shapes_come_from_arrays() {
        assert_eq!(Shape::of_array(&Array4::<f16>::from_elem((1, 2, 3, 4), f16::ZERO)).unwrap(), Shape::chw(2, 3, 4));
        assert_eq!(Shape::of_array(&Array1::<f32>::zeros(512)).unwrap(), Shape::vector(512));
        assert!(Shape::of_array(&Array4::<f32>::zeros((2, 2, 3, 4))).is_err());
        assert!(Layer::new("x", Shape::vector(3), Dtype::F32).takes_array(&Array1::<f32>::zeros(3)));
    }
}
