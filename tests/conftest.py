"""For all tests."""

import signal

# A shell without job control starts what runs in the background with SIGINT ignored, and its children inherit that:
# then Ctrl-C could not be tested.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
