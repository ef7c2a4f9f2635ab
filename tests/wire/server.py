"""tests/wire/server.py: the real server as a fixture: its own folder, configuration, certificates and
port ("any": the log tells which). Waiting is for events: a line of the log, the end of the process.

    server = Server(modules=['roster', 'presence'], limits={'login_timeout': '1s'})
    server.start()
    server.add_user('juliet@localhost', 'secret')
    server.stop()                  # asserts exit status 0 and silence of the sanitizers
"""
import atexit
import collections
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

SRC = os.environ.get('GRAPNEL_SRC') or os.path.realpath(
    os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
BUILD = os.environ.get('GRAPNEL_BUILD') or os.path.join(SRC, 'build')
LOOPS = os.environ.get('GRAPNEL_TEST_LOOPS') or '1'
SANITIZED = bool(os.environ.get('GRAPNEL_SAN'))
SLOW = 4 if SANITIZED else 1
TIMEOUT = 20 * SLOW                     # seconds, for anything that is expected to happen

HOST, HOST2 = 'localhost', 'two.example'
GRAPNEL, GRAPNELCTL = f'{BUILD}/grapnel', f'{BUILD}/grapnelctl'

TMP = os.environ.get('GRAPNEL_TEST_TMP')
if not TMP:
    TMP = tempfile.mkdtemp(prefix='grapnel-test-')
    atexit.register(shutil.rmtree, TMP, ignore_errors=True)

# Tests come from one address and faster than people do.
LIMITS = {'accept_rate_per_ip': 100000,
          'unauthenticated_per_ip': 1000, 'unauthenticated_percent': 100,
          'connections_per_ip': 5000, 'rate_c2s': 'unlimited'}

os.umask(0o077)                         # the server refuses keys that everybody may read

running = []


@atexit.register
def kill_leftovers():
    for server in running:
        server.process.kill()


def certificate(domain, key='ec'):
    """A file with key and self-signed certificate, made once."""
    path = f'{TMP}/{domain}.pem'
    if os.path.exists(path):
        return path
    kind = ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'] if key == 'ec' else ['rsa:2048']
    subprocess.run(['openssl', 'req', '-x509', '-newkey', *kind, '-nodes', '-days', '30',
                    '-subj', f'/CN={domain}', '-addext',
                    f'subjectAltName=DNS:{domain},DNS:chat.{domain}',
                    '-keyout', f'{path}.key', '-out', f'{path}.crt'],
                   check=True, capture_output=True)
    with open(path, 'wb') as out:
        for part in ('key', 'crt'):
            with open(f'{path}.{part}', 'rb') as f:
                out.write(f.read())
    return path


class Server:
    """One data folder and configuration; the process may be started again and again."""

    count = 0

    def __init__(self, modules=(), limits=None, listen=None, server=None, host=None, extra='',
                 hosts=(HOST, HOST2), module_path='', files=None):
        Server.count += 1
        self.dir = f'{TMP}/s{Server.count}'
        os.makedirs(f'{self.dir}/conf.d')
        self.ini = f'{self.dir}/grapnel.ini'
        self.data = f'{self.dir}/data'
        self.log_path = f'{self.dir}/log'
        self.process = None
        self.port = None
        self.lines = []
        self.changed = threading.Condition()
        self.sections = collections.OrderedDict()
        self.sections['server'] = {
            'data_dir': self.data, 'loops': LOOPS, 'workers': 2, 'include': 'conf.d/*.ini',
            'module_path': ':'.join(p for p in (module_path, f'{BUILD}/modules') if p),
            **(server or {})}
        self.sections['limits'] = {**LIMITS, **(limits or {})}
        self.sections['listen c2s'] = {'type': 'c2s', 'address': '127.0.0.1', 'port': 'any',
                                       **(listen or {})}
        for name in hosts:
            self.sections[f'host {name}'] = {
                'certificate': certificate(name), 'scram_iterations': 4096, **(host or {})}
        for name in modules:
            self.sections[name if name.startswith('mod_') else f'mod_{name}'] = {}
        self.extra, self.files = extra, files
        self.write_config()

    # ---- configuration ---------------------------------------------------------------------------

    def write_config(self):
        with open(self.ini + '.new', 'w', encoding='utf-8') as f:
            for name, options in self.sections.items():
                f.write(f'[{name}]\n')
                for key, value in options.items():
                    if value is not None:
                        f.write(f'{key} = {value}\n')
                f.write('\n')
            f.write(self.extra)
        os.replace(self.ini + '.new', self.ini)

    def set(self, section, **options):
        self.sections.setdefault(section, {}).update(options)
        self.write_config()

    def drop(self, section):
        self.sections.pop(section, None)
        self.write_config()

    def conf_d(self, name, text):
        """Writes conf.d/NAME; None removes it."""
        path = f'{self.dir}/conf.d/{name}'
        if text is None:
            os.unlink(path)
            return
        with open(path + '.new', 'w', encoding='utf-8') as f:
            f.write(text)
        os.replace(path + '.new', path)

    def check(self):
        """grapnel --check: (exit status, what it said)."""
        p = subprocess.run([GRAPNEL, '--config', self.ini, '--check'], capture_output=True,
                           text=True, timeout=TIMEOUT, check=False)
        return p.returncode, p.stderr + p.stdout

    # ---- the process -----------------------------------------------------------------------------

    def start(self):
        since = self.spawn()
        line = self.wait_log(r'server\.listening: c2s on port (\d+)', since)
        self.port = int(line.group(1))
        return self

    def spawn(self):
        """Starts the process without waiting; the position in the log."""
        since = len(self.lines)
        argv = [GRAPNEL, '--config', self.ini]
        if self.files:                                 # file descriptors
            argv = ['prlimit', f'--nofile={self.files}:{self.files}'] + argv
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                        cwd=self.dir, text=True, errors='replace')
        running.append(self)
        self.reader = threading.Thread(target=self.read_log, args=(self.process,), daemon=True)
        self.reader.start()
        return since

    def read_log(self, process):
        with open(self.log_path, 'a', encoding='utf-8') as log:
            for line in process.stderr:
                log.write(line)
                log.flush()
                with self.changed:
                    self.lines.append(line.rstrip('\n'))
                    self.changed.notify_all()
        process.wait()
        with self.changed:
            self.changed.notify_all()

    def log_now(self):
        """A position for wait_log: what comes from now on."""
        return len(self.lines)

    def wait_log(self, pattern, since=0, timeout=TIMEOUT):
        """The match of the first line that fits; fails when the process ends without one."""
        regex = re.compile(pattern)
        end = time.monotonic() + timeout
        with self.changed:
            while True:
                while since < len(self.lines):
                    match = regex.search(self.lines[since])
                    since += 1
                    if match:
                        return match
                left = end - time.monotonic()
                if left <= 0 or not self.reader.is_alive():
                    tail = '\n'.join(self.lines[-15:])
                    ended = '' if self.reader.is_alive() else ', and the server ended'
                    raise AssertionError(f'no line like {pattern!r} in the log{ended}:\n{tail}')
                self.changed.wait(min(left, 0.5))

    def has_logged(self, pattern, since=0):
        return any(re.search(pattern, line) for line in self.lines[since:])

    def wait_end(self, timeout=TIMEOUT):
        """The exit status."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError('the server does not end:\n' +
                                 '\n'.join(self.lines[-15:])) from None
        self.reader.join(TIMEOUT)
        if self in running:
            running.remove(self)
        return status

    def kill(self):
        self.process.kill()
        self.wait_end()

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        """In order, with everything that must be true at the end of a server."""
        if self.process is None or self not in running:
            return
        self.process.send_signal(signal.SIGTERM)
        status = self.wait_end()
        self.assert_clean()
        assert status == 0, f'exit status {status}:\n' + '\n'.join(self.lines[-15:])

    def assert_clean(self):
        reports = glob.glob(f'{TMP}/sanitizer*')
        assert not reports, f'sanitizer reports: {reports}'
        bad = [line for line in self.lines if re.search(
            r'AddressSanitizer|ThreadSanitizer|LeakSanitizer|runtime error:|assertion', line)]
        assert not bad, bad

    def restart(self):
        self.stop()
        return self.start()

    def reload(self):
        """SIGHUP; True when the server took the new configuration over."""
        since = self.log_now()
        self.signal(signal.SIGHUP)
        return self.wait_log(r'reload\.(done|refused)', since).group(1) == 'done'

    def rss(self):
        """Resident bytes."""
        with open(f'/proc/{self.process.pid}/status', encoding='ascii') as f:
            for line in f:
                if line.startswith('VmRSS:'):
                    return int(line.split()[1]) * 1024
        raise AssertionError('no VmRSS')

    # ---- grapnelctl ------------------------------------------------------------------------------

    def ctl(self, *words, text=None):
        """The finished process of grapnelctl."""
        return subprocess.run([GRAPNELCTL, '--config', self.ini, *words], input=text,
                              stdin=None if text is not None else subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=TIMEOUT, check=False)

    def ctl_ok(self, *words, text=None):
        p = self.ctl(*words, text=text)
        assert p.returncode == 0, f'grapnelctl {words}: {p.returncode} {p.stderr}{p.stdout}'
        return p.stdout

    def ctl_json(self, *words):
        return json.loads(self.ctl_ok('--json', *words))

    def add_user(self, jid, password='secret'):
        self.ctl_ok('user', 'add', jid, '--password-stdin', text=password + '\n')
        return jid
