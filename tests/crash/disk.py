"""tests/crash/disk.py: a file system of our own whose power can be cut.

ext4 in an image file, mounted through a loop device. What a program writes is in the page cache of
this file system until it is synced (or until the kernel finds time: the journal is told to wait for
ten minutes, dirty pages wait for half one); only then it reaches the image. A copy of the image is
what a disk would have after a power cut: what was synced, and of the rest what happened to be
written. The copy is mounted, by which its journal is replayed, and is the disk from then on.

The cut comes either while the server lives (EXT4_IOC_SHUTDOWN: from that instant on the file system
takes nothing more, in the middle of whatever is being written), or right behind SIGKILL (nothing
torn, but everything that was not synced is gone). Nothing is ever synced for the server.

Mounts are made in a mount namespace of the process: they are gone when it is, however it ends."""
import ctypes
import fcntl
import os
import struct
import subprocess

SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2  # linux/ext4: _IOR('X', 125, __u32)
CLONE_NEWNS, MS_REC_PRIVATE = 0x20000, 0x44000
SIZE = 2 << 30                          # sparse

separated = False


class NoDisk(Exception):
    """This cannot be done here; says why."""


def run(*argv):
    p = subprocess.run(argv, capture_output=True, text=True, check=False)
    if p.returncode != 0:
        raise NoDisk(f'{" ".join(argv)}: {p.stderr.strip()}')


def separate():
    """Our own mounts, for this thread and whatever it starts."""
    global separated
    libc = ctypes.CDLL(None, use_errno=True)
    if not separated:
        if libc.unshare(CLONE_NEWNS) != 0 or \
                libc.mount(None, b'/', None, ctypes.c_ulong(MS_REC_PRIVATE), None) != 0:
            raise NoDisk(f'unshare: {os.strerror(ctypes.get_errno())}')
        separated = True


class Disk:
    def __init__(self, base, folder):
        if os.geteuid() != 0:
            raise NoDisk('to mount a file system one has to be root')
        if not os.path.exists('/dev/loop-control'):
            raise NoDisk('no loop devices: /dev/loop-control is missing')
        separate()
        self.base, self.folder, self.cuts = base, folder, 0
        os.makedirs(folder, exist_ok=True)
        self.image = f'{base}/disk0'
        with open(self.image, 'wb') as f:
            f.truncate(SIZE)
        run('mkfs.ext4', '-q', '-m', '0', '-E', 'nodiscard', self.image)
        self.mount()
        os.chmod(folder, 0o700)

    def mount(self):
        run('mount', '-o', 'loop,commit=600,noinit_itable,nodiscard', self.image, self.folder)

    def power_off(self):
        """From now on nothing reaches the disk."""
        fd = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, struct.pack('I', NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def power_on(self):
        """With what was on the disk: nobody has it open any more."""
        self.cuts += 1
        old, self.image = self.image, f'{self.base}/disk{self.cuts}'
        run('cp', '--sparse=always', old, self.image)
        run('umount', self.folder)
        os.unlink(old)
        self.mount()

    def remove(self):
        """With a look whether the file system itself is sound."""
        run('umount', self.folder)
        run('e2fsck', '-fn', self.image)
        os.unlink(self.image)
