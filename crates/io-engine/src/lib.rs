//! One core over every driver: slots, retry, order, offload and the event loop
