//! CUDA graphs: work that is recorded once and started as one.
//!
//! One of the files with `unsafe`: the driver's interface is handles.
#![allow(unsafe_code)]

use std::ptr;
use std::sync::Arc;

use cudarc::driver::{result, sys};

use super::{Gpu, failed};
use crate::error::CudaError;

/// Recorded work, ready to be started.
pub struct Graph {
    gpu: Arc<Gpu>,
    executable: sys::CUgraphExec,
}

// SAFETY: a handle, used by one thread at a time with its context current.
unsafe impl Send for Graph {}

impl Gpu {
    /// From now on, work that this thread puts into the stream is recorded instead of done.
    ///
    /// # Errors
    /// When the driver fails.
    pub fn begin_capture(&self) -> Result<(), CudaError> {
        // Other threads of the process may use CUDA meanwhile.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream lives as long as `self`.
        unsafe { result::stream::begin_capture(self.stream, mode) }
            .map_err(failed("cuStreamBeginCapture"))
    }

    /// What was recorded. Recording ends also on error.
    ///
    /// # Errors
    /// When something in it cannot be captured.
    pub fn end_capture(self: &Arc<Self>) -> Result<Graph, CudaError> {
        // SAFETY: the stream lives as long as `self`.
        let graph = unsafe { result::stream::end_capture(self.stream) }
            .map_err(failed("cuStreamEndCapture"))?;
        if graph.is_null() {
            let detail = "nothing was captured".to_owned();
            return Err(CudaError::Call { call: "cuStreamEndCapture", detail });
        }
        let mut executable = ptr::null_mut();
        // SAFETY: the graph was just made, and may go once it has been instantiated.
        let made = unsafe {
            let made = sys::cuGraphInstantiateWithFlags(&raw mut executable, graph, 0).result();
            let _ = result::graph::destroy(graph);
            made
        };
        made.map_err(failed("cuGraphInstantiate"))?;
        Ok(Graph { gpu: Arc::clone(self), executable })
    }
}

impl Graph {
    /// Puts the recorded work into the stream.
    ///
    /// # Errors
    /// When the driver fails.
    ///
    /// # Safety
    /// Everything that the work uses is still there, until the stream has been synchronised.
    pub unsafe fn launch(&self) -> Result<(), CudaError> {
        // SAFETY: graph and stream live; the rest is the caller's promise.
        unsafe { sys::cuGraphLaunch(self.executable, self.gpu.stream).result() }
            .map_err(failed("cuGraphLaunch"))
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        let _ = self.gpu.bind();
        // SAFETY: instantiated in `end_capture`, destroyed once. The driver waits for running ones.
        let _ = unsafe { result::graph::exec_destroy(self.executable) };
    }
}
