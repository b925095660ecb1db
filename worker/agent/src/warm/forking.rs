//! The callbacks that an interpreter needs before and after a fork of its process.

/// What an interpreter needs done around a fork of its process. The functions are called in its only thread,
/// in this order, and only around a fork.
#[derive(Debug, Clone, Copy)]
pub struct Forking {
    /// Before it.
    pub before: unsafe fn(),
    /// After it, in the parent.
    pub in_parent: unsafe fn(),
    /// After it, in the child.
    pub in_child: unsafe fn(),
}

impl Forking {
    /// Runs `fork` between these calls; `is_child` tells whether its result is the child's.
    ///
    /// # Safety
    /// The caller is the interpreter's only thread, in which these may be called.
    #[expect(unsafe_code, reason = "hands the contract on")]
    pub(crate) unsafe fn around<T>(
        self,
        fork: impl FnOnce() -> T,
        is_child: impl FnOnce(&T) -> bool,
    ) -> T {
        // SAFETY: as the caller promises.
        unsafe {
            (self.before)();
            let forked = fork();
            if is_child(&forked) {
                (self.in_child)()
            } else {
                (self.in_parent)()
            }
            forked
        }
    }
}
