//! The program's environment without what the agent has added for the module.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};

use super::{MODULE_DIRECTORY, PATH_VARIABLE};
use crate::sys;

unsafe extern "C" {
    static environ: *const *mut c_char;
}

/// Has /proc show the environment as the job has it; returns the variable's own value, if it has one.
///
/// # Safety
/// Called before anything changes the environment, and while nothing else reads it.
pub unsafe fn restore() -> Option<&'static CStr> {
    let added = format!("{PATH_VARIABLE}={MODULE_DIRECTORY}");
    // SAFETY: a list of C strings that ends with null. They are those that the kernel has put on the stack, where
    // they last as long as the process and may be written to.
    unsafe {
        let mut place = environ;
        while !(*place).is_null() {
            let text = *place;
            if let Some(rest) = CStr::from_ptr(text).to_bytes().strip_prefix(added.as_bytes()) {
                let name = PATH_VARIABLE.len() + 1;
                let theirs = rest.strip_prefix(b":");
                let end = match theirs {
                    Some(theirs) => {
                        let length = theirs.len() + 1;
                        std::ptr::copy(theirs.as_ptr().cast(), text.add(name), length);
                        text.add(name + length)
                    }
                    None => text,
                };
                // Where /proc can't be read it shows the variable.
                let _ = sys::cut_environment(end);
                return theirs.map(|_| CStr::from_ptr(text.add(name)));
            }
            place = place.add(1);
        }
        None
    }
}
