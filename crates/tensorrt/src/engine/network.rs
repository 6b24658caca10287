//! What the engine asks of TensorRT: a deserialised plan and its contexts.
//!
//! [`crate::safe`] is the real one; tests drive the same engine with fakes.
//!
//! One of the files with `unsafe`: running a context has the GPU write to addresses that the compiler
//! knows nothing of.
#![allow(unsafe_code)]

use crate::error::TensorRtError;
use crate::safe::{self, Shape, ShapeRange, Stream, TensorInfo};

/// A deserialised plan.
pub trait Plan: Send {
    /// A state of execution.
    type Context: Context;

    /// Inputs and outputs.
    fn tensors(&self) -> &[TensorInfo];

    /// How many profiles it has.
    ///
    /// # Errors
    /// When TensorRT says no.
    fn profiles(&self) -> Result<usize, TensorRtError>;

    /// Shapes of an input under a profile.
    ///
    /// # Errors
    /// When there is no such input or profile.
    fn profile_range(&self, name: &str, profile: usize) -> Result<ShapeRange, TensorRtError>;

    /// Something that runs it.
    ///
    /// # Errors
    /// Out of memory above all.
    fn context(&self) -> Result<Self::Context, TensorRtError>;
}

/// A state of execution: profile, shapes, addresses.
pub trait Context: Send {
    /// Changes the profile.
    ///
    /// # Errors
    /// When TensorRT says no.
    fn set_profile(&mut self, profile: usize, stream: &Stream) -> Result<(), TensorRtError>;

    /// Shape of an input from the next run on.
    ///
    /// # Errors
    /// When it is outside the profile.
    fn set_input_shape(&mut self, name: &str, shape: &Shape) -> Result<(), TensorRtError>;

    /// Place of a tensor from the next run on.
    ///
    /// # Errors
    /// When TensorRT says no.
    fn set_address(&mut self, name: &str, address: u64) -> Result<(), TensorRtError>;

    /// Checks that every input has a shape.
    ///
    /// # Errors
    /// The names of those that have none.
    fn infer_shapes(&mut self) -> Result<(), TensorRtError>;

    /// Puts a run into the stream.
    ///
    /// # Errors
    /// When TensorRT says no.
    ///
    /// # Safety
    /// As [`safe::Context::enqueue`]: all addresses are valid for their tensors until the run is done.
    unsafe fn enqueue(&mut self, stream: &Stream) -> Result<(), TensorRtError>;
}

impl Plan for safe::Engine {
    type Context = safe::Context;

    fn tensors(&self) -> &[TensorInfo] {
        Self::tensors(self)
    }

    fn profiles(&self) -> Result<usize, TensorRtError> {
        self.profiles()
    }

    fn profile_range(&self, name: &str, profile: usize) -> Result<ShapeRange, TensorRtError> {
        self.profile_range(name, profile)
    }

    fn context(&self) -> Result<safe::Context, TensorRtError> {
        self.context()
    }
}

impl Context for safe::Context {
    fn set_profile(&mut self, profile: usize, stream: &Stream) -> Result<(), TensorRtError> {
        self.set_profile(profile, stream)
    }

    fn set_input_shape(&mut self, name: &str, shape: &Shape) -> Result<(), TensorRtError> {
        self.set_input_shape(name, shape)
    }

    fn set_address(&mut self, name: &str, address: u64) -> Result<(), TensorRtError> {
        self.set_address(name, address)
    }

    fn infer_shapes(&mut self) -> Result<(), TensorRtError> {
        self.infer_shapes()
    }

    unsafe fn enqueue(&mut self, stream: &Stream) -> Result<(), TensorRtError> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.enqueue(stream) }
    }
}
