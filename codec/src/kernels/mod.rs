//! The loops that need vector instructions: the matrix product, sparse sums of basis vectors, moments of a tensor, distances
//! of vectors.
//!
//! All are safe code; `pulp` picks the instruction set at run time. Sums are taken in one fixed order, so results depend neither
//! on the number of threads nor on the width of the vectors (the product uses fused multiply–add where the machine has it).

pub mod distance;
pub mod moments;
pub mod product;
pub mod sparse;
