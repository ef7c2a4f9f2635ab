#!/usr/bin/env python3
"""tests/bench/soak.py [RELOADS] [LOOPS]: reloads every shipped module RELOADS times (10000) while sessions chat and
ask at SOAK_RATE stanzas a second (5000), and counts what is lost, repeated, reordered or unanswered, which sessions
end, how long loops pause, and what the server's memory does. `make soak` runs it for the built server, `make soak
SAN=thread` (or SAN=address,undefined) for that one. Results: a line of JSON at the end, and, with SOAK_NOTE=1, a row
in docs/performance.md; exit status 1 when something is wrong.

A module counts as new when its file has other contents: each reload finds files with another number behind the
image, which the loader does not look at. Options change as well, of a module and of the core."""
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time

import benchlib as b
import report

RATE = int(os.environ.get('SOAK_RATE', '5000'))
if not os.path.exists(os.path.join(b.PROGRAMS, 'grapnel-load')):     # the load is not sanitized
    b.PROGRAMS = os.path.join(b.SRC, 'build', 'tests', 'bench')
PAUSE = re.compile(r'loops paused for (\d+) us to prepare and (\d+) us to change over')


def ctl(server, *argv):
    return subprocess.run([os.path.join(b.BUILD, 'grapnelctl'), '--config', server.ini, *argv], capture_output=True,
                          text=True, check=False, timeout=60)


def own_modules():
    """Copies of the modules in a folder of ours; the configuration looks there."""
    folder = os.path.join(b.TMP, 'modules')
    shutil.copytree(os.path.join(b.BUILD, 'modules'), folder)
    files = {}
    for name in sorted(os.listdir(folder)):
        if name[:-3] in b.all_modules():
            with open(os.path.join(folder, name), 'rb') as f:
                files[os.path.join(folder, name)] = f.read()
    return folder, files


def renew(files, number):
    for path, contents in files.items():
        with open(path + '.new', 'wb') as f:
            f.write(contents + number.to_bytes(8, 'little'))
        os.rename(path + '.new', path)


def reconfigure(server, text, number):
    """An option of a module and one of the core have another value each time."""
    with open(server.ini + '.new', 'w', encoding='ascii') as f:
        f.write(text.replace('[limits]\n', f'[limits]\nauth_retries = {3 + number % 2}\n')
                .replace('[mod_ping]\n', f'[mod_ping]\nping_interval = {60 + number % 2}s\n'))
    os.rename(server.ini + '.new', server.ini)


def figures(values):
    values = sorted(values)
    return {'p50': statistics.median(values), 'p99': values[len(values) * 99 // 100], 'max': values[-1]}


def memory(server):
    with open(f'/proc/{server.process.pid}/smaps_rollup', encoding='ascii') as f:
        return next(int(line.split()[1]) for line in f if line.startswith('Anonymous:'))


def soak(server, files, reloads):
    """After a tenth of the reloads memory should no longer grow."""
    count, took, kb, prepare, commit = len(files), [], [], [], []
    with open(server.ini, encoding='ascii') as f:
        text = f.read()
    for n in range(reloads):
        renew(files, n)
        reconfigure(server, text, n)
        start = time.monotonic()
        p = ctl(server, 'reload')
        took.append(time.monotonic() - start)
        pause = PAUSE.search(p.stdout)
        if p.returncode != 0 or p.stdout.count('new code') != count or pause is None:
            print(f'reload {n}: {p.stdout}{p.stderr}')
            return None
        prepare.append(int(pause.group(1)))
        commit.append(int(pause.group(2)))
        if n % max(reloads // 10, 1) == max(reloads // 10, 1) - 1:
            kb.append(memory(server))
            print(f'  {n + 1} reloads, {kb[-1]} KB, {1000 * took[-1]:.1f} ms', flush=True)
    return {'reloads': reloads, 'modules': count, 'kb': kb, 'reload_ms': figures([1000 * t for t in took]),
            'prepare_us': figures(prepare), 'change_over_us': figures(commit)}


def note(result, loops):
    """A row of the report, in place of the last one of this build."""
    build = os.path.basename(b.BUILD).partition('-')[2] or 'plain'
    with open(b.RESULTS, encoding='utf-8') as f:
        results = json.load(f)
    results.setdefault('soak', {})[build] = {**result, 'loops': loops, 'rate': RATE,
                                             'date': time.strftime('%Y-%m-%d', time.gmtime())}
    with open(b.RESULTS + '.new', 'w', encoding='utf-8') as f:
        json.dump(results, f, indent=1, sort_keys=True)
        f.write('\n')
    os.replace(b.RESULTS + '.new', b.RESULTS)
    report.write(results)


def main():
    reloads = int(sys.argv[1]) if len(sys.argv) > 1 else 10000
    loops = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    data = b.data_dir('soak')
    b.mkusers(data, 0, 200, 'roster=10')
    folder, files = own_modules()
    renew(files, 1 << 40)
    b.MODULES = folder
    server = b.grapnel(data, loops=loops, cpus=','.join(str(c) for c in b.CPUS),
                       names=b.all_modules())
    out = os.path.join(b.TMP, 'soak.json')
    load = subprocess.Popen([os.path.join(b.PROGRAMS, 'grapnel-load'), 'soak', '--port', str(server.port), '--sessions',
                             '200', '--rate', str(RATE), '--duration', '86400', '--json', out, '--pid',
                             str(server.process.pid)], stdout=subprocess.PIPE, text=True)
    next((line for line in load.stdout if 'soaking' in line), None)
    before = memory(server)
    result = soak(server, files, reloads)
    load.send_signal(signal.SIGINT)
    print(load.communicate(timeout=120)[0])
    ok = load.returncode == 0 and result is not None
    with open(out, encoding='utf-8') as f:
        traffic = json.load(f)
    server.process.send_signal(signal.SIGTERM)
    status = server.process.wait(60)
    b.running.remove(server)
    with open(server.log, encoding='utf-8', errors='replace') as f:
        log = [line for line in f.read().splitlines() if line.strip()]
    print('\n'.join(log[-20:]))
    result = {'ok': ok and status == 0, 'exit': status, 'kb_before': before, **(result or {}),
              **{k: traffic[k] for k in ('sent', 'lost', 'unanswered', 'repeated', 'reordered', 'bounced',
                                         'sessions_lost', 'p99_us', 'p999_us', 'max_us')}}
    print(json.dumps(result))
    if os.environ.get('SOAK_NOTE') and 'reloads' in result:
        note(result, loops)
    return 0 if ok and status == 0 else 1


sys.exit(main())
