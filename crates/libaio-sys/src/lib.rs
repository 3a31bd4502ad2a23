//! Vendored bindings of linux/aio_abi.h and the raw AIO system calls
