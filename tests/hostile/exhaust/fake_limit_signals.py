# Every signal by which a kernel enforces a limit or a barrier, sent to itself by a child of its own, then SIGXFSZ
# by the program: none of them proves that a limit was reached.
import os, signal
for number in (signal.SIGXCPU, signal.SIGXFSZ, signal.SIGKILL, signal.SIGSEGV, signal.SIGSYS, signal.SIGBUS):
    child = os.fork()
    if child == 0:
        signal.signal(number, signal.SIG_DFL) if number != signal.SIGKILL else None
        os.kill(os.getpid(), number)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WTERMSIG(status) == number, status
print("sent all", flush=True)
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
os.kill(os.getpid(), signal.SIGXFSZ)
