//! The ground floor: the driver trait, operations, buffers and completions
