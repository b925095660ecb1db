//! PID 1 inside every sandfleet container, and the words it speaks with the worker.
