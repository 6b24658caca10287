//! Why a model folder could not be loaded.
