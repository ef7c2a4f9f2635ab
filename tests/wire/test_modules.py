"""tests/wire/test_modules.py: modules switched on and off while the server runs and clients are
connected: all or nothing, until the server stops, never against what others need; and what
`grapnelctl modules` tells."""
import os
import re
import shutil
import signal
import subprocess
import threading
import unittest

import tap
from server import BUILD, GRAPNELCTL, HOST, HOST2, LOOPS, TIMEOUT, TMP, Server
from xmpp import Client

PING = 'urn:xmpp:ping'


class Base(unittest.TestCase):
    def serve(self, *args, **options):
        self.server = Server(*args, **options).start()
        self.addCleanup(self.server.stop)
        for host in (HOST, HOST2):
            self.server.add_user(f'juliet@{host}')
        return self.server

    def login(self, host=HOST):
        c = Client(self.server, host=host).login(f'juliet@{host}')
        self.addCleanup(c.abort)
        return c

    def pings(self, client, host=HOST):
        """Whether the host answers pings."""
        answer = client.request(f"<iq type='get' id='{{id}}' to='{host}'><ping xmlns='{PING}'/></iq>")
        return answer.get('type') == 'result'

    def refused(self, *words):
        p = self.server.ctl(*words)
        self.assertEqual(p.returncode, 1, p.stdout)
        self.assertEqual(p.stdout, '')
        return p.stderr

    def states(self, module):
        """{host: state} of the rows of that module."""
        return {r['host']: r['state'] for r in self.server.ctl_json('modules')
                if r['module'] == module}


class Load(Base):
    def test_load_and_unload(self):
        self.serve()
        c = self.login()
        self.assertFalse(self.pings(c))
        said = self.server.ctl_ok('module', 'load', 'ping')
        self.assertIn('mod_ping: loaded on every host', said)
        self.assertIn(f'until the server stops; to keep it so, write [mod_ping] to {self.server.ini}', said)
        self.assertTrue(self.pings(c))
        self.assertEqual(self.states('mod_ping'), {HOST: 'by hand', HOST2: 'by hand'})
        said = self.server.ctl_ok('module', 'unload', 'mod_ping')
        self.assertIn(f'mod_ping: unloaded on every host\nas {self.server.ini} says', said)
        self.assertFalse(self.pings(c))
        self.assertEqual(self.states('mod_ping'), {})
        c.silent()

    def test_another_provider_is_told(self):
        """It may be one with which nobody can log in."""
        self.serve(modules=['roster', 'presence'])
        said = self.server.ctl_ok('module', 'load', 'everyone_roster', '--host', HOST)
        self.assertIn(f'rosters of {HOST}: the provider everyone answers now, before it was rosterdb\n', said)
        said = self.server.ctl_ok('module', 'load', 'ping')
        self.assertNotIn('answers now', said)
        said = self.server.ctl_ok('module', 'unload', 'everyone_roster')
        self.assertIn(f'rosters of {HOST}: the provider rosterdb answers now, before it was everyone\n', said)

    def test_it_outlives_reloads_but_not_the_server(self):
        self.serve()
        c = self.login()
        self.server.ctl_ok('module', 'load', 'ping')
        self.assertTrue(self.server.reload())
        self.server.ctl_ok('reload')
        self.server.set('limits', login_timeout='7s')
        self.assertIn('login_timeout', self.server.ctl_ok('reload'))
        self.assertTrue(self.pings(c))
        self.server.restart()
        self.assertFalse(self.pings(self.login()))

    def test_one_host(self):
        self.serve()
        here, there = self.login(HOST), self.login(HOST2)
        said = self.server.ctl_ok('module', 'load', 'ping', '--host', HOST.upper())
        self.assertIn(f'mod_ping: loaded on {HOST}', said)
        self.assertIn(f'write [mod_ping {HOST}] to', said)
        self.assertTrue(self.pings(here, HOST))
        self.assertFalse(self.pings(there, HOST2))
        self.assertIn(f'mod_ping is loaded already on {HOST}',
                      self.refused('module', 'load', 'ping', '--host', HOST))
        self.server.ctl_ok('module', 'load', 'ping')
        self.assertTrue(self.pings(there, HOST2))
        self.assertIn('mod_ping is loaded already on every host', self.refused('module', 'load', 'ping'))
        self.server.ctl_ok('module', 'unload', 'ping', '--host', HOST)
        self.assertFalse(self.pings(here, HOST))
        self.assertTrue(self.pings(there, HOST2))
        self.server.ctl_ok('module', 'unload', 'ping')
        self.assertFalse(self.pings(there, HOST2))
        self.assertIn('mod_ping is not loaded on any host', self.refused('module', 'unload', 'ping'))

    def test_options_come_from_the_file(self):
        self.serve()
        self.server.set('mod_ping', enabled='no', ping_interval='3m')
        self.server.ctl_ok('reload')
        self.assertEqual(self.states('mod_ping'), {})
        self.server.ctl_ok('module', 'load', 'ping')
        self.assertEqual(self.states('mod_ping'), {HOST: 'by hand', HOST2: 'by hand'})
        self.server.set('mod_ping', ping_interval='soon')
        self.assertRegex(self.refused('reload'), r'grapnel\.ini:\d+: .*ping_interval')
        self.server.set('mod_ping', ping_interval='5m')
        self.assertIn('[mod_ping] ping_interval: 3m -> 5m', self.server.ctl_ok('reload'))

    def test_what_the_configuration_has_can_be_unloaded(self):
        self.serve(modules=['ping'])
        c = self.login()
        self.assertTrue(self.pings(c))
        said = self.server.ctl_ok('module', 'unload', 'ping')
        self.assertRegex(said, r'write `enabled = no` in \[mod_ping\] \('
                               rf'{re.escape(self.server.ini)}:\d+\)')
        self.assertFalse(self.pings(c))
        self.assertEqual(self.states('mod_ping'), {'*': 'unloaded by hand'})
        self.assertRegex(self.server.ctl_ok('modules'), r'mod_ping +\* .* unloaded by hand +\n')
        self.server.ctl_ok('reload')
        self.assertFalse(self.pings(c))
        self.server.drop('mod_ping')                   # made to last: nothing is left to remember
        self.server.ctl_ok('reload')
        self.assertEqual(self.states('mod_ping'), {})
        self.server.set('mod_ping')
        self.server.ctl_ok('reload')
        self.assertTrue(self.pings(c))

    def test_made_to_last(self):
        self.serve()
        self.server.ctl_ok('module', 'load', 'ping')
        self.server.set('mod_ping')
        self.assertIn('[mod_ping]: added', self.server.ctl_ok('reload'))
        self.assertEqual(self.states('mod_ping'), {HOST: '', HOST2: ''})
        self.server.drop('mod_ping')
        self.server.ctl_ok('reload')
        self.assertEqual(self.states('mod_ping'), {})

    def test_a_host_that_goes_takes_its_entry_along(self):
        self.serve()
        self.server.ctl_ok('module', 'load', 'ping', HOST2)
        section = self.server.sections[f'host {HOST2}']
        self.server.drop(f'host {HOST2}')
        self.server.ctl_ok('reload')
        self.server.set(f'host {HOST2}', **section)
        self.server.ctl_ok('reload')
        self.assertEqual(self.states('mod_ping'), {})

    def test_refusals(self):
        self.serve(modules=['roster', 'everyone_roster'])
        c = self.login()
        for name in ('auth', 'mod_sm', 'admin'):
            self.assertIn('is a part of the server', self.refused('module', 'unload', name))
        self.assertIn('there is no module mod_pign: did you mean mod_ping?',
                      self.refused('module', 'load', 'pign'))
        self.assertIn('there is no mod_qqq.so in', self.refused('module', 'load', 'qqq'))
        self.assertRegex(self.refused('module', 'load', 'nothing_like_it'),
                         r'mod_nothing_like_it is not loaded, nothing has changed:\n'
                         r'there is no mod_nothing_like_it\.so in module_path .*: install it\n')
        self.assertIn('far.example is not served here',
                      self.refused('module', 'load', 'ping', '--host', 'far.example'))
        self.assertIn('is not served here', self.refused('module', 'load', 'ping', '--host', '@'))
        self.assertEqual(self.refused('module', 'unload', 'roster'),
                         'grapnelctl: mod_roster is not unloaded: mod_everyone_roster (on 2 hosts) '
                         'needs it: unload it first\n')
        self.assertEqual(self.states('mod_roster'), {HOST: '', HOST2: ''})
        self.assertIn(f'mod_everyone_roster (on {HOST}) needs it',
                      self.refused('module', 'unload', 'roster', HOST))
        for name in ('../modules/mod_ping', 'mod_/ping', 'Ping', 'ping.so', 'p\u00efng'):
            self.assertIn('is no name of a module', self.refused('module', 'load', name))
        self.assertIn('missing argument', self.refused('module', 'load'))
        self.assertIn('unknown command', self.refused('module'))
        self.assertIn('unknown command', self.refused('module', 'laod', 'ping'))
        self.assertIn('too many arguments', self.refused('module', 'load', 'ping', HOST, 'x'))
        self.assertFalse(self.pings(c))
        self.assertTrue(self.server.has_logged(r'reload\.refused: '))

    def test_what_is_needed_comes_and_goes_in_order(self):
        self.serve()
        self.assertRegex(self.refused('module', 'load', 'everyone_roster'),
                         r'mod_everyone_roster needs mod_roster on localhost: `module load roster` first')
        for name in ('roster', 'everyone_roster'):
            self.server.ctl_ok('module', 'load', name)
        self.assertIn('needs it: unload it first', self.refused('module', 'unload', 'roster'))
        for name in ('everyone_roster', 'roster'):
            self.server.ctl_ok('module', 'unload', name)
        self.assertEqual(self.states('mod_roster'), {})

    def test_advice_names_the_file_in_use(self):
        """Which may be an included one, and is not called as from the server's folder."""
        self.serve(server={'include': 'conf.d/../conf.d/*.ini'})
        place = f'{self.server.dir}/conf.d/ping.ini'
        self.server.conf_d('ping.ini', '; ours\n[mod_ping]\n')
        self.server.ctl_ok('reload')
        self.assertIn(f'write `enabled = no` in [mod_ping] ({place}:2)\n',
                      self.server.ctl_ok('module', 'unload', 'ping'))
        self.server.conf_d('ping.ini', '; ours\n[mod_ping]\n\nenabled = no\n')
        self.server.ctl_ok('reload')
        self.assertIn(f'remove `enabled = no` from [mod_ping] ({place}:4)\n',
                      self.server.ctl_ok('module', 'load', 'ping'))

    def test_all_or_nothing(self):
        """Something else in the configuration is wrong meanwhile."""
        self.serve()
        c = self.login()
        self.server.set('mod_version', no_such_option='1')
        said = self.refused('module', 'load', 'ping')
        self.assertIn('no_such_option', said)
        self.assertFalse(self.pings(c))
        self.server.drop('mod_version')
        self.server.ctl_ok('reload')
        self.assertFalse(self.pings(c))               # it was not remembered


class List(Base):
    def test_one_row_per_host(self):
        self.serve(modules=['ping'])
        c = self.login()
        for _ in range(3):
            self.pings(c)
        rows = self.server.ctl_json('module', 'list')
        self.assertEqual([(r['module'], r['host']) for r in rows],
                         [(r['module'], r['host']) for r in self.server.ctl_json('modules')])
        mine = [r for r in rows if r['module'] == 'mod_ping']
        self.assertEqual([r['host'] for r in mine], [HOST, HOST2])
        self.assertGreaterEqual(mine[0]['calls'], 3)
        self.assertGreater(mine[0]['bytes'], 0)
        self.assertIn('pings', mine[0]['summary'])
        mine = [r for r in self.server.ctl_json('modules', '--files') if r['module'] == 'mod_ping']
        self.assertEqual([r['file'] for r in mine], 2 * [f'{BUILD}/modules/mod_ping.so'])
        self.assertNotIn('loop', mine[0])

    def test_loops(self):
        self.serve(modules=['ping'])
        c = self.login()
        for _ in range(3):
            self.pings(c)
        rows = [r for r in self.server.ctl_json('modules', '--loops')
                if (r['module'], r['host']) == ('mod_ping', HOST)]
        self.assertEqual([r['loop'] for r in rows], list(range(int(LOOPS))))
        total, = [r for r in self.server.ctl_json('modules')
                  if (r['module'], r['host']) == ('mod_ping', HOST)]
        self.assertEqual(sum(r['calls'] for r in rows), total['calls'])
        self.assertIn('unknown option', self.refused('modules', '--lops'))
        self.assertIn('too many arguments', self.refused('modules', '--loops', 'x'))


class Reload(Base):
    def test_of_one_module(self):
        self.serve(modules=['ping'])
        self.assertEqual(self.server.ctl_json('module', 'reload', 'ping'),
                         [{'change': 'mod_ping: no change: its file and its options are those in use'}])
        self.server.set('mod_ping', ping_interval='3m')
        said = self.server.ctl_ok('module', 'reload', 'mod_ping')
        self.assertIn('[mod_ping] ping_interval: (default) -> 3m (live)', said)
        self.assertNotIn('no change', said)
        self.assertEqual(self.server.ctl_json('module', 'reload'), [])
        self.assertIn('mod_pong is not loaded on any host', self.refused('module', 'reload', 'pong'))


class Watcher:
    """grapnelctl module watch, and the lines it prints."""

    def __init__(self, server, what, **options):
        self.process = subprocess.Popen([GRAPNELCTL, '--config', server.ini, 'module', 'watch', what],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, **options)
        self.lines, self.ended = [], False
        self.changed = threading.Condition()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(line.rstrip('\n'))
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def wait(self, text):
        """All lines up to the first one with that text, which are taken."""
        def there():
            return self.ended or any(text in line for line in self.lines)
        with self.changed:
            if not self.changed.wait_for(there, TIMEOUT) or not any(text in x for x in self.lines):
                raise AssertionError(f'no {text!r} in {self.lines}')
            n = next(i for i, line in enumerate(self.lines) if text in line) + 1
            taken, self.lines[:n] = self.lines[:n], []
        return '\n'.join(taken)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(TIMEOUT) == -signal.SIGINT


class Watch(Base):
    MODULE = '#include <grapnel/module.h>\n%s\nGR_MODULE(seen, .summary = "%s" MORE);\n'

    @classmethod
    def setUpClass(cls):
        cls.flags = [subprocess.run(['pkg-config', what, 'grapnel'], capture_output=True, text=True,
                                    check=True, env={**os.environ, 'PKG_CONFIG_PATH':
                                                     f'{BUILD}/pkgconfig'}).stdout.split()
                     for what in ('--cflags', '--libs')]

    def write(self, path, summary, piece=''):
        """Compiled into its place, as a whole, as makefiles do."""
        source = f'{TMP}/seen.c'
        if 'MORE' not in piece:
            piece += '\n#define MORE'
        with open(source, 'w', encoding='ascii') as f:
            f.write(self.MODULE % (piece, summary))
        subprocess.run(['gcc', *self.flags[0], '-o', f'{path}.new', source, *self.flags[1]], check=True)
        os.chmod(f'{path}.new', 0o644)
        os.replace(f'{path}.new', path)

    def start(self, what=None):
        folder = f'{TMP}/watch-{self._testMethodName}-{LOOPS}'
        os.makedirs(folder)
        path = f'{folder}/mod_seen.so'
        self.write(path, 'first')
        self.serve(modules=['seen'], module_path=folder)
        watcher = Watcher(self.server, what or path)
        self.addCleanup(watcher.process.kill)
        watcher.wait('watching ')
        return path, watcher

    def summary(self):
        return {r['summary'] for r in self.server.ctl_json('modules') if r['module'] == 'mod_seen'}

    def test_by_name(self):
        path, watcher = self.start('seen')
        for word in ('second', 'third'):
            self.write(path, word)
            said = watcher.wait('mod_seen: new code')
            self.assertIn(path, said)
            self.assertIn('in order', said)
            self.assertEqual(self.summary(), {word})
            watcher.wait('loops paused')               # the last line of a reload
            self.assertEqual(watcher.lines, [])        # said once, though there are two hosts
        watcher.stop()

    def test_load_points_to_reload(self):
        path, watcher = self.start('seen')
        watcher.stop()
        self.assertEqual(self.refused('module', 'load', 'seen'),
                         'grapnelctl: mod_seen is loaded already on every host\n')
        self.write(path, 'second')
        self.assertIn('changed since: `module reload seen` takes it over',
                      self.refused('module', 'load', 'seen'))
        self.server.ctl_ok('module', 'reload', 'seen')
        self.assertEqual(self.summary(), {'second'})
        self.assertNotIn('changed since', self.refused('module', 'load', 'seen'))

    def test_what_is_refused_is_not_reloaded(self):
        path, watcher = self.start()
        self.write(path, 'lost', 'void gr_nothing(void); __attribute__((used)) static void f(void) '
                                 '{ gr_nothing(); }')
        said = watcher.wait('does not load it')
        self.assertIn('needs gr_nothing', said)
        self.assertEqual(self.summary(), {'first'})
        self.write(path, 'better')
        watcher.wait('mod_seen: new code')
        self.assertEqual(self.summary(), {'better'})
        self.server.set('nonsense', a='1')             # the server has something else to say
        self.write(path, 'worse')
        watcher.wait('there is no section [nonsense]')
        self.assertEqual(self.summary(), {'better'})
        self.server.drop('nonsense')
        shutil.copy(path, f'{path}.copy')              # another file
        with open(path, 'ab') as f:                    # written in place
            f.write(b' ')
        watcher.wait('mod_seen: new code')
        self.assertEqual(self.summary(), {'worse'})
        watcher.stop()

    def test_a_file_elsewhere(self):
        path, watcher = self.start()
        watcher.stop()
        elsewhere = f'{TMP}/elsewhere-{LOOPS}'
        os.makedirs(elsewhere)
        shutil.copy(path, elsewhere)
        watcher = Watcher(self.server, 'mod_seen.so', cwd=elsewhere)
        self.addCleanup(watcher.process.kill)
        self.assertIn('install it there', watcher.wait('watching '))
        watcher.stop()
        watcher = Watcher(self.server, f'{elsewhere}/mod_seen.so')
        self.addCleanup(watcher.process.kill)
        self.assertIn(f'the server has mod_seen from {os.path.realpath(path)}: install it there',
                      watcher.wait('watching '))
        self.write(f'{elsewhere}/mod_seen.so', 'second')
        watcher.wait('mod_seen: no change')
        shutil.rmtree(elsewhere)
        watcher.wait('cannot be watched any more')
        self.assertEqual(watcher.process.wait(TIMEOUT), 1)

    def test_what_it_uses(self):
        path, watcher = self.start()
        watcher.stop()
        self.write(path, 'busy', """
#include <time.h>
struct room { char bytes[5000]; };
static const struct gr_slot slot = GR_SLOT(struct room, 1, NULL);
static const struct gr_slot *const slots[] = { &slot, NULL };
static void burn(struct gr_mod *self, struct gr_session_ev *ev)
{
    clock_t end = clock() + CLOCKS_PER_SEC / 20; /* of all threads */
    while (clock() < end)
        ;
    gr_session_slot(self, ev->session, &slot);
}
static const struct gr_hook hooks[] = { GR_ON(sm_register_connection, 50, burn), GR_HOOK_END };
#define MORE , .hooks = hooks, .slots = slots
""")
        self.server.ctl_ok('reload')
        def mine():
            row, = [r for r in self.server.ctl_json('modules')
                    if (r['module'], r['host']) == ('mod_seen', HOST)]
            return row
        before = mine()
        self.assertEqual((before['calls'], before['cpu_ms']), (0, 0))
        c = self.login()
        c.sync()
        after = mine()
        self.assertEqual(after['calls'], 1)
        self.assertGreaterEqual(after['cpu_ms'], 5)
        self.assertGreaterEqual(after['bytes'] - before['bytes'], 5000)

    def test_refusals(self):
        self.serve()
        self.assertIn('is not loaded: `module load` it first', self.refused('module', 'watch', 'ping'))
        self.assertIn('is not called mod_NAME.so', self.refused('module', 'watch', './x.so'))
        for words in ([], ['--what'], ['a', 'b'], ['']):
            p = self.server.ctl('module', 'watch', *words)
            self.assertEqual(p.returncode, 2)
            self.assertIn('usage:', p.stderr)
        self.assertIn('until ^C', self.server.ctl_ok('module', 'watch', '--help'))
        self.server.stop()
        self.assertIn('no server answers', self.refused('module', 'watch', 'ping'))


if __name__ == '__main__':
    tap.main()
