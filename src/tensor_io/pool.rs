//! A buffer pool whose buffers have several memories: one a tensor, each aligned to a cache line.
//!
//! The stock pool makes buffers of one memory. Reuse matters: a fresh frame of megabytes costs page faults
//! each time that a reused one does not.

use gst::glib;
use gst::subclass::prelude::*;

mod imp {
    use super::*;
    use gst::prelude::AllocatorExt;
    use std::sync::OnceLock;

    /// Alignment mask of every memory: 64 bytes.
    const ALIGN_MASK: usize = 63;

    #[derive(Default)]
    pub struct TensorPool {
        pub(super) sizes: OnceLock<Vec<usize>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for TensorPool {
        const NAME: &'static str = "GstFcmTensorPool";
        type Type = super::TensorPool;
        type ParentType = gst::BufferPool;
    }

    impl ObjectImpl for TensorPool {}
    impl GstObjectImpl for TensorPool {}

    impl BufferPoolImpl for TensorPool {
        fn alloc_buffer(&self, _params: Option<&gst::BufferPoolAcquireParams>) -> Result<gst::Buffer, gst::FlowError> {
            let sizes = self.sizes.get().ok_or(gst::FlowError::Error)?;
            let params = gst::AllocationParams::new(gst::MemoryFlags::empty(), ALIGN_MASK, 0, 0);
            let allocator = gst::Allocator::find(None).ok_or(gst::FlowError::Error)?;
            let mut buffer = gst::Buffer::new();
            let unshared = buffer.get_mut().ok_or(gst::FlowError::Error)?;
            for &size in sizes {
                let memory = allocator.alloc(size, Some(&params)).map_err(|error| {
                    gst::error!(gst::CAT_RUST, imp = self, "no memory of {size} bytes: {error}");
                    gst::FlowError::Error
                })?;
                unshared.append_memory(memory);
            }
            Ok(buffer)
        }
    }
}

glib::wrapper! {
    /// Pool of raw tensor buffers.
    pub struct TensorPool(ObjectSubclass<imp::TensorPool>) @extends gst::BufferPool, gst::Object;
}

impl TensorPool {
    /// An active pool of buffers whose memories have `sizes` bytes.
    ///
    /// # Errors
    /// When GStreamer refuses to configure or start the pool.
    pub fn new(sizes: Vec<usize>) -> Result<Self, glib::BoolError> {
        use gst::prelude::*;
        let pool: Self = glib::Object::new();
        let total = sizes.iter().sum::<usize>();
        let _ = pool.imp().sizes.set(sizes);
        let mut config = pool.config();
        let total = u32::try_from(total).map_err(|_| glib::bool_error!("{total} bytes in a buffer"))?;
        // No upper bound: how many buffers are held is the business of the elements downstream.
        config.set_params(None, total, 0, 0);
        pool.set_config(config)?;
        pool.set_active(true)?;
        Ok(pool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gst::prelude::*;

    #[test]
    fn released_buffers_come_back_with_their_memories() {
        gst::init().unwrap();
        let pool = TensorPool::new(vec![128, 4, 72]).unwrap();
        let sizes = |b: &gst::Buffer| b.iter_memories().map(|m| m.size()).collect::<Vec<_>>();
        let first = pool.acquire_buffer(None).unwrap();
        assert_eq!(sizes(&first), [128, 4, 72]);
        for memory in first.iter_memories() {
            assert_eq!(memory.map_readable().unwrap().as_ptr() as usize % 64, 0);
        }
        let address = first.as_ptr();
        drop(first);
        let second = pool.acquire_buffer(None).unwrap();
        assert_eq!(second.as_ptr(), address);
        assert_eq!(sizes(&second), [128, 4, 72]);
        pool.set_active(false).unwrap();
    }
}
