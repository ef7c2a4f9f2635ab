"""tests/bench/benchlib.py: what scripts/bench and scripts/bench-peers share: servers that are started, pinned
to one core and stopped again, and the load engine on the other core."""
import atexit
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

SRC = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get('GRAPNEL_BUILD') or os.path.join(SRC, 'build')
PROGRAMS = os.path.join(BUILD, 'tests', 'bench')
MODULES = os.path.join(BUILD, 'modules')      # module_path of the servers
RESULTS = os.environ.get('BENCH_RESULTS') or os.path.join(SRC, 'docs', 'performance.json')
TMP = tempfile.mkdtemp(prefix='grapnel-bench-')
CPUS = sorted(os.sched_getaffinity(0))
SERVER_CPU, LOAD_CPU = str(CPUS[0]), str(CPUS[1 % len(CPUS)])
PORT = int(os.environ.get('BENCH_PORT') or 15222)      # and the nine after it
FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
running = []
failures = []


def fail(what):
    """Said now and, by scripts/bench, at the end."""
    print(f'  {what}', flush=True)
    failures.append(what)


def stop_servers():
    for server in list(running):
        server.stop()


def stop_all():
    stop_servers()
    shutil.rmtree(TMP, ignore_errors=True)


atexit.register(stop_all)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def certificate():
    pem = os.path.join(TMP, 'localhost.pem')
    if not os.path.exists(pem):
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256',
                        '-nodes', '-days', '30', '-subj', '/CN=localhost', '-addext',
                        'subjectAltName=DNS:localhost', '-keyout', pem + '.key', '-out', pem + '.crt'],
                       check=True, stderr=subprocess.DEVNULL)
        with open(pem, 'w', encoding='ascii') as out:
            for part in ('.key', '.crt'):
                with open(pem + part, encoding='ascii') as f:
                    out.write(f.read())
        os.chmod(pem, 0o600)
    return pem


class Server:
    """argv is run pinned to SERVER_CPU (cpus: others) and waited for on the port."""

    def __init__(self, argv, port, cpus=SERVER_CPU, env=None, pids=None, wait=30):
        self.port, self.pids_of = port, pids
        self.log = os.path.join(TMP, f'log-{port}')
        if self.listens():
            sys.exit(f'somebody listens on port {port} already; set BENCH_PORT to another one')
        start = time.monotonic()
        with open(self.log, 'ab') as log:
            self.process = subprocess.Popen(['taskset', '-c', cpus] + argv, stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL, start_new_session=True,
                                            env=dict(os.environ, **(env or {})))
        running.append(self)
        while not self.listens():
            if self.process.poll() is not None or time.monotonic() - start > wait:
                with open(self.log, encoding='utf-8', errors='replace') as f:
                    raise OSError(f'{argv[0]} does not start:\n' + f.read()[-2000:])
            time.sleep(0.005)
        self.start_seconds = time.monotonic() - start

    def listens(self):
        try:
            with socket.create_connection(('127.0.0.1', self.port), timeout=5):
                return True
        except OSError:
            return False

    def pids(self):
        return self.pids_of(self) if self.pids_of else [self.process.pid]

    def cpu_seconds(self):
        ticks = 0
        for pid in self.pids():
            with open(f'/proc/{pid}/stat', encoding='ascii') as f:
                fields = f.read().rsplit(')', 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf('SC_CLK_TCK')

    def stop(self):
        if self in running:
            running.remove(self)
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


INI = '''[server]
data_dir = {data}
module_path = {modules}
loops = {loops}
workers = 1
log_level = warn
[limits]
rate_c2s = unlimited
unauthenticated_per_ip = 100000
unauthenticated_percent = 100
connections_per_ip = 100000
accept_rate_per_ip = 100000
password_queue = 10000
idle_timeout = 1h
[listen c2s]
type = c2s
address = 127.0.0.1
port = {port}
tls = optional
[host localhost]
certificate = {pem}
'''
# In place of others, or not without options of one's own.
NOT_TOGETHER = {'mod_offline_stub', 'mod_everyone_roster', 'mod_staff_roster', 'mod_push_service_mongoosepush'}


def all_modules():
    names = (n[:-3] for n in os.listdir(MODULES) if n.endswith('.so'))
    return sorted(set(names) - NOT_TOGETHER)


def modules():
    """Those that are on in the sample, but for the archive: that has figures of its own."""
    with open(os.path.join(SRC, 'config', 'grapnel.ini'), encoding='utf-8') as f:
        on = re.findall(r'^\[(mod_\w+)\][^\n]*\n(?!enabled = no)', f.read(), re.M)
    return sorted(set(on) - {'mod_mam'})


def grapnel(data, port=PORT, loops=1, cpus=SERVER_CPU, env=None, wait=30, names=None):
    ini = os.path.join(TMP, f'grapnel-{port}.ini')
    with open(ini, 'w', encoding='ascii') as f:
        f.write(INI.format(data=data, modules=MODULES, loops=loops, port=port, pem=certificate()))
        for name in names or modules():
            f.write(f'[{name}]\n')
            if name == 'mod_offline':
                f.write('limit = unlimited\nsize_limit = unlimited\n')
    server = Server([os.path.join(BUILD, 'grapnel'), '--config', ini], port, cpus, env, wait=wait)
    server.ini = ini
    return server


def relay(tls, port=PORT + 5):
    return Server([os.path.join(PROGRAMS, 'relay'), str(port)] + ([certificate()] if tls else []), port)


def mkusers(data, first, count, *more, prefix='u'):
    subprocess.run([os.path.join(PROGRAMS, 'mkusers'), data, prefix, str(first), str(count), *more],
                   check=True, stdout=subprocess.DEVNULL)


def data_dir(name):
    path = os.path.join(TMP, name)
    shutil.rmtree(path, ignore_errors=True)
    os.mkdir(path, 0o700)
    return path


def folder_size(folder):
    return sum(os.path.getsize(os.path.join(top, name)) for top, _, names in os.walk(folder) for name in names)


def drop_caches(folder):
    """The page cache forgets the files of the folder; as root, all files, the server's own as well."""
    os.sync()
    try:
        with open('/proc/sys/vm/drop_caches', 'w', encoding='ascii') as f:
            f.write('3')
    except OSError:
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), 'rb') as f:
                os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def load(server, scenario, tls='starttls', timeout=300, **options):
    """Runs the load engine; its figures, or None when it failed, messages are missing or logins were refused."""
    out = os.path.join(TMP, 'load.json')
    if os.path.exists(out):
        os.unlink(out)
    argv = ['taskset', '-c', LOAD_CPU, os.path.join(PROGRAMS, 'grapnel-load'), scenario, '--port',
            str(server.port), '--tls', tls, '--json', out]
    for pid in server.pids():
        argv += ['--pid', str(pid)]
    for key, value in options.items():
        key = '--' + key.replace('_', '-')
        argv += [key] if value is True else [key, str(value)]
    try:
        p = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return fail(f'{scenario}, port {server.port}: not done in {timeout} s')
    if p.returncode != 0 or not os.path.exists(out):
        return fail(f'{scenario}, port {server.port}, failed ({p.returncode}): '
                    + ' '.join((p.stderr or p.stdout).split())[-300:])
    with open(out, encoding='utf-8') as f:
        return json.load(f)


def in_turns(times, jobs, fewer=()):
    """{name: callable} -> {name: what it returned, in order}; round and round, so that what else the machine does
    hits all of them alike. Those in `fewer` have two turns at most."""
    done = {name: [] for name in jobs}
    for turn in range(times):
        for name, job in jobs.items():
            if turn < 2 or name not in fewer:
                done[name].append(job())
    return done


def spread(values):
    """None: there is only one."""
    if len(values) < 2:
        return None
    return (max(values) - min(values)) / max(min(values), 1e-9)


def lowest(runs, key='cpu_us', best=min):
    """The run with the lowest figure, with the spread of all: caches and cores shared with other work only ever add.
    Failed ones (None) are left out and counted: dropped."""
    good = [r for r in runs if r is not None and key in r]
    if not good:
        return None
    return dict(best(good, key=lambda r: r[key]), spread=spread([r[key] for r in good]),
                dropped=len(runs) - len(good))


def ratio(above, below, key='cpu_us'):
    """The lowest of each, divided; None when all failed."""
    above, below = lowest(above, key), lowest(below, key)
    if above is None or below is None:
        return None
    return {'factor': above[key] / below[key], 'spread': max(above['spread'] or 0, below['spread'] or 0),
            'dropped': above['dropped'] + below['dropped']}


class Busy:
    """How much of the machine others used, in percent of a core, since this was made."""

    def __init__(self):
        self.since, self.start = time.monotonic(), self.others()

    @staticmethod
    def others():
        with open('/proc/stat', encoding='ascii') as f:
            user, nice, system, _idle, _wait, irq, soft, steal = map(int, f.readline().split()[1:9])
        mine = sum(sum(resource.getrusage(who)[:2])
                   for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return (user + nice + system + irq + soft + steal) / os.sysconf('SC_CLK_TCK') - mine

    def percent(self):
        return 100 * (self.others() - self.start) / max(time.monotonic() - self.since, 1e-9)


class Results:
    """docs/performance.json. servers: {server: {figure: {value, spread, dropped, run}}}, dropped: how many repeats
    failed, run: what it was measured by, one of runs; {value: None, failed: True, run} when none succeeded; detail:
    what else the measurements said."""

    def __init__(self, run):
        try:
            with open(RESULTS, encoding='utf-8') as f:
                self.data = json.load(f)
        except (OSError, ValueError):
            self.data = {}
        self.run = f'{run["date"]}, commit {run["commit"]}'
        self.data.setdefault('runs', {})[self.run] = run
        self.data['last'] = self.run
        self.noted = set()

    def note(self, server, figure, value, **more):
        """value: None when it failed; more: what is known of spread and dropped."""
        entry = {'value': value, 'run': self.run}
        if value is None:
            entry['failed'] = True
        entry.update({k: v for k, v in more.items() if v})
        self.data.setdefault('servers', {}).setdefault(server, {})[figure] = entry
        self.noted.add((server, figure))

    def expect(self, server, figure):
        """What should have been measured by now and was not has failed; no old figure stands in for it."""
        if (server, figure) not in self.noted:
            fail(f'{figure}, {server}: not measured')
            self.note(server, figure, None)

    def detail(self, name, value):
        if value is not None:
            self.data.setdefault('detail', {})[name] = value

    def save(self):
        used = {e['run'] for s in self.data.get('servers', {}).values() for e in s.values()}
        self.data['runs'] = {k: v for k, v in self.data['runs'].items() if k in used | {self.run}}
        with open(RESULTS + '.new', 'w', encoding='utf-8') as f:
            json.dump(self.data, f, indent=1, sort_keys=True)
            f.write('\n')
        os.replace(RESULTS + '.new', RESULTS)
