//! The conformance suite of the drivers, guard buffers, a fault wrapper and a file model
