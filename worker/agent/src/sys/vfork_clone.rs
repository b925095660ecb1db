//! A child that works in its parent's memory while the parent waits, has a child of its own, and then
//! becomes another program: so of a large process there is one copy and not two. And the same with two
//! copies, by what POSIX defines. docs/decisions/warm-starts.md has what the first rests on.

use std::{
    ffi::{c_int, c_uint, c_void},
    io, mem, ptr,
};

use rustix::process::Pid;

use super::{check, fork_into, stack::Stack};

/// Stacks for the parent while it waits, and for its child: neither may touch the caller's, on which the
/// grandchild goes on.
#[derive(Debug)]
pub(crate) struct Stacks {
    waiting: Stack,
    child: Stack,
    sequences: Option<Rseq>,
}

impl Stacks {
    /// For this thread and its copies.
    pub(crate) fn new() -> io::Result<Self> {
        let sequences = Rseq::find();
        Ok(Self { waiting: Stack::new()?, child: Stack::new()?, sequences })
    }
}

/// In which process [`vfork_clone`] and [`fork_twice`] return.
#[derive(Debug)]
pub(crate) enum VforkClone {
    /// As the caller, whose child this is. It is another program by now, or gone.
    Caller(Pid),
    /// As the child's child, with a copy of the caller's memory.
    Grandchild,
}

struct Branching<'a> {
    flags: c_int,
    child: &'a mut dyn FnMut(),
    child_stack: *mut c_void,
    sequences: Option<Rseq>,
    caller: libc::ucontext_t,
    result: Option<io::Result<VforkClone>>,
}

/// Starts a child in the namespaces of `flags` (`CLONE_NEW*`) that does `child`, which has to fork. It
/// returns in the fork's child only; in the child itself it ends with an exec or an exit, and the caller
/// waits for either. Until then the child works in the caller's memory, so nothing that it puts there
/// and doesn't take away is ever freed.
///
/// # Errors
/// Those of clone(2).
///
/// # Safety
/// - `flags` has nothing but `CLONE_NEW*`.
/// - The caller is its process's only thread, and no handler of a signal runs in the child.
/// - `child` forks, once, and returns in the fork's child only: in the child itself it would go on with the
///   caller's stack, on which the caller goes on as well.
/// - Until its end the child leaves what it finds in memory such that the caller can go on with it. What it
///   changes is changed for the caller.
pub(crate) unsafe fn vfork_clone(
    stacks: &mut Stacks,
    flags: c_int,
    child: &mut dyn FnMut(),
) -> io::Result<VforkClone> {
    // SAFETY: all-zero contexts are valid and are filled before they are used. The caller's context is
    // left by `swapcontext` and entered again at most once in each process: here by the end of `wait`
    // (`uc_link`), in the grandchild by `setcontext`, in its own copy of an untouched stack. The stacks
    // and `branching` outlive that, and nothing else uses them meanwhile: there is one thread, as the caller
    // says.
    unsafe {
        let mut branching = Branching {
            flags,
            child,
            child_stack: stacks.child.top(),
            sequences: stacks.sequences,
            caller: mem::zeroed(),
            result: None,
        };
        let mut waiting = mem::zeroed::<libc::ucontext_t>();
        check(libc::getcontext(&mut waiting).into())?;
        waiting.uc_stack.ss_sp = stacks.waiting.bottom();
        waiting.uc_stack.ss_size = Stack::BYTES;
        waiting.uc_link = &raw mut branching.caller;
        let address = (&raw mut branching).expose_provenance() as u64;
        let function: extern "C" fn() =
            mem::transmute::<extern "C" fn(c_uint, c_uint), extern "C" fn()>(wait);
        // Arguments are words of C's `int`: a pointer takes two.
        libc::makecontext(&mut waiting, function, 2, (address >> 32) as c_uint, address as c_uint);
        check(libc::swapcontext(&raw mut branching.caller, &waiting).into())?;
        // Written by the child, which the compiler doesn't see.
        let result = ptr::read_volatile(&raw const branching.result);
        mem::forget(branching.result.take());
        result.unwrap_or_else(|| Err(io::Error::other("neither process returned")))
    }
}

/// The caller, on another stack: its own is to be found by the grandchild as it was.
extern "C" fn wait(high: c_uint, low: c_uint) {
    let address = u64::from(high) << 32 | u64::from(low);
    let branching = ptr::with_exposed_provenance_mut::<Branching<'_>>(address as usize);
    // SAFETY: the address is that of `vfork_clone`'s local variable, which lives until this returns. The child has a stack of its
    // own, and all of it is free: until it is another program or gone, this process doesn't go on, as
    // CLONE_VFORK says.
    unsafe {
        let flags = (*branching).flags | libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        let child = libc::clone(begin, (*branching).child_stack, flags, branching.cast());
        let child = check(child.into()).map(|child| Pid::from_raw(child as i32));
        (*branching).result = Some(match child {
            Ok(Some(child)) => Ok(VforkClone::Caller(child)),
            Ok(None) => Err(io::ErrorKind::InvalidData.into()),
            Err(error) => Err(error),
        });
    }
}

extern "C" fn begin(branching: *mut c_void) -> c_int {
    let branching = branching.cast::<Branching<'_>>();
    // SAFETY: as in `wait`. Past the call this is the grandchild, with a copy of it all.
    unsafe {
        ((*branching).child)();
        (*branching).result = Some(Ok(VforkClone::Grandchild));
        if let Some(sequences) = (*branching).sequences {
            sequences.keep();
        }
        libc::setcontext(&raw const (*branching).caller);
    }
    // Not reached: the context is one that `swapcontext` has filled.
    126
}

/// What [`vfork_clone`] does, by two forks: the child has a copy of the caller's memory, in which it does `child`.
///
/// # Errors
/// Those of clone(2).
///
/// # Safety
/// `flags` has nothing but `CLONE_NEW*`, and the caller is its process's only thread.
pub(crate) unsafe fn fork_twice(flags: c_int, child: &mut dyn FnMut()) -> io::Result<VforkClone> {
    // SAFETY: as the caller promises.
    if let Some(child) = unsafe { fork_into(flags) }? {
        return Ok(VforkClone::Caller(child));
    }
    child();
    Ok(VforkClone::Grandchild)
}

/// Where the kernel writes on which processor a thread is: a place of the C library's, that of the thread that
/// asked for it and of its copies. The kernel stops for a child that works in its parent's memory, and so for
/// that child's children.
#[derive(Debug, Clone, Copy)]
struct Rseq(*mut u8);

impl Rseq {
    /// What stands before every place at which a sequence is given up.
    #[cfg(target_arch = "x86_64")]
    const SIGNATURE: c_uint = 0x5305_3053;
    #[cfg(target_arch = "aarch64")]
    const SIGNATURE: c_uint = 0xd428_bc00;
    /// The place as every kernel takes it, in bytes.
    const PLACE_BYTES: usize = 32;

    /// None if the library has none, or doesn't use it.
    fn find() -> Option<Self> {
        // SAFETY: both names are, where the library has them, constants of the types that its manual gives
        // them. The place belongs to this thread, for as long as it lives, and the library has it registered
        // for every thread unless the size is 0.
        unsafe {
            let size = libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_size".as_ptr()).cast::<c_uint>();
            let offset = libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_offset".as_ptr()).cast::<isize>();
            if size.is_null() || offset.is_null() || *size == 0 {
                return None;
            }
            Some(Self(thread_pointer().wrapping_offset(*offset)))
        }
    }

    /// Registers the place again. If it is registered already the kernel refuses, which changes nothing.
    fn keep(self) {
        // SAFETY: the place is this thread's own, as `find` says.
        unsafe { libc::syscall(libc::SYS_rseq, self.0, Self::PLACE_BYTES, 0, Self::SIGNATURE) };
    }
}

/// What the offsets of a thread's own memory are counted from.
fn thread_pointer() -> *mut u8 {
    let pointer: *mut u8;
    // SAFETY: reads one register, or the word that it points to, which every thread of the C library's has.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        std::arch::asm!("mov {}, fs:0", out(reg) pointer, options(nostack, readonly, preserves_flags));
        #[cfg(target_arch = "aarch64")]
        std::arch::asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nostack, nomem, preserves_flags));
    }
    pointer
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use rustix::process::{WaitOptions, waitpid};

    use super::*;
    use crate::sys;

    /// Has a grandchild three times; says each time whether the caller sees what the child did in memory.
    ///
    /// Tests are threads of one process, and what is tested is for processes with one thread; so the
    /// grandchild only does what any process may do after a fork.
    fn sees_what_its_child_does(
        mut start: impl FnMut(&mut dyn FnMut()) -> io::Result<VforkClone>,
    ) -> [bool; 3] {
        let (mut ours, mut theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        [0, 1, 2].map(|round: u8| {
            let mut number = round;
            let parent = rustix::process::getpid();
            let mut child = || {
                number += 100;
                // SAFETY: the grandchild does what is async-signal-safe only.
                match unsafe { sys::fork() } {
                    Ok(None) => {}
                    // As an exec would: the caller goes on.
                    _ => sys::exit(0),
                }
            };
            match start(&mut child).expect("possible") {
                VforkClone::Caller(child) => {
                    assert_eq!(rustix::process::getpid(), parent);
                    waitpid(Some(child), WaitOptions::empty()).expect("a child");
                }
                VforkClone::Grandchild => {
                    let is_own = rustix::process::getpid() != parent;
                    // SAFETY: takes no pointer.
                    let processor = unsafe { libc::sched_getcpu() };
                    let said = [number, u8::from(is_own), u8::from(processor >= 0)];
                    sys::exit(theirs.write_all(&said).is_err().into());
                }
            }
            let mut said = [0; 3];
            ours.read_exact(&mut said).expect("three bytes");
            assert_eq!(said, [100 + round, 1, 1]);
            // Written by the child, which the compiler doesn't see.
            // SAFETY: the address is a reference's.
            unsafe { ptr::read_volatile(&raw const number) != round }
        })
    }

    #[test]
    fn a_grandchild_goes_on_where_the_caller_was() {
        let mut stacks = Stacks::new().expect("two stacks");
        let seen = sees_what_its_child_does(|child| {
            // SAFETY: no signal has a handler that does anything; the child forks once.
            unsafe { vfork_clone(&mut stacks, 0, child) }
        });
        assert_eq!(seen, [true; 3], "the child works in the caller's memory");
    }

    #[test]
    fn a_grandchild_by_two_forks_goes_on_there_too_and_its_parent_has_memory_of_its_own() {
        // SAFETY: the child and the grandchild do what is async-signal-safe only.
        let seen = sees_what_its_child_does(|child| unsafe { fork_twice(0, child) });
        assert_eq!(seen, [false; 3], "the child works in a copy");
    }
}
