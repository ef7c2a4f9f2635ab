"""tests/wire/test_ctl.py: the command lines: grapnelctl against a running server, `grapnel --check` and
starts that must be refused: each with one sentence that helps, and the right exit status."""
import os
import pty
import re
import signal
import socket
import subprocess
import threading
import time
import unittest
import unittest.mock

import tap
from server import BUILD, GRAPNEL, GRAPNELCTL, HOST, HOST2, LOOPS, TIMEOUT, TMP, Server, certificate
from xmpp import Client, Failure


def run(*argv):
    return subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT, check=False,
                          stdin=subprocess.DEVNULL)


class Commands(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server().start()
        cls.server.add_user('juliet@localhost')

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def refused(self, *words, text=None):
        """What grapnelctl says when it fails: one line on stderr, nothing on stdout."""
        p = self.server.ctl(*words, text=text)
        self.assertEqual(p.returncode, 1, (words, p.stdout, p.stderr))
        self.assertEqual(p.stdout, '')
        self.assertEqual(p.stderr.count('\n'), 1, p.stderr)
        self.assertTrue(p.stderr.startswith('grapnelctl: '), p.stderr)
        return p.stderr.strip()

    def login(self, jid, password):
        c = Client(self.server).login(jid, password)
        self.addCleanup(c.abort)
        return c

    # ---- users -----------------------------------------------------------------------------------

    def test_user_add_and_log_in(self):
        self.server.ctl_ok('user', 'add', 'a1@localhost', '--password', 'open sesame')
        self.login('a1@localhost', 'open sesame').silent()

    def test_user_add_password_from_stdin(self):
        self.server.ctl_ok('user', 'add', 'a2@localhost', '--password-stdin',
                           text='p\u00e4ss wort\r\n')
        self.login('a2@localhost', 'p\u00e4ss wort')

    def type_passwords(self, jid, *typed, says):
        mine, theirs = pty.openpty()
        p = subprocess.Popen([GRAPNELCTL, '--config', self.server.ini, 'user', 'add', jid],
                             stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        seen = b''
        for question, word in zip((b'password: ', b'the same again: '), typed):
            while question not in seen:
                seen += os.read(mine, 1000)
            os.write(mine, word + b'\n')
        status = p.wait(TIMEOUT)
        while says not in seen:
            seen += os.read(mine, 1000)
        os.close(mine)
        self.assertNotIn(b'hidden', seen)
        return status

    def test_user_add_asks_on_a_terminal(self):
        """Whoever types sees the questions, and not the password."""
        self.assertEqual(self.type_passwords('a3@localhost', b'hidden word', b'hidden wrd',
                                             says=b'the two are different'), 1)
        self.assertEqual(self.type_passwords('a3@localhost', b'', says=b'nothing came'), 1)
        self.assertEqual(self.type_passwords('a3@localhost', b'hidden word', b'hidden word',
                                             says=b'done'), 0)
        self.login('a3@localhost', 'hidden word')

    def test_user_add_prepares_the_name(self):
        self.server.ctl_ok('user', 'add', 'ROMEO@LocalHost', '--password', 'x')
        self.assertIn('exists already',
                      self.refused('user', 'add', 'romeo@localhost', '--password', 'x'))

    def test_duplicate_user(self):
        self.assertIn('juliet@localhost exists already',
                      self.refused('user', 'add', 'juliet@localhost', '--password', 'other'))
        self.login('juliet@localhost', 'secret')

    def test_bad_jids(self):
        for jid in ('', 'a@b@c', '@localhost', 'localhost', 'a@localhost/x', 'a b@localhost',
                    'a@far.example', 'x' * 1100 + '@localhost', '--', '\u2028@localhost'):
            with self.subTest(jid[:20]):
                self.refused('user', 'add', jid, '--password', 'x')

    def test_password_is_needed(self):
        self.assertIn('password', self.refused('user', 'add', 'a3@localhost'))
        self.assertIn('password', self.refused('user', 'add', 'a3@localhost', '--password'))
        self.refused('user', 'add', 'a3@localhost', '--password-stdin', text='')
        self.refused('user', 'add', 'a3@localhost', '--password-stdin', text='\n')
        self.assertNotIn('a3@localhost', self.server.ctl_ok('user', 'list', 'localhost'))

    def test_user_password(self):
        self.server.add_user('a4@localhost', 'old')
        self.server.ctl_ok('user', 'password', 'a4@localhost', '--password', 'new')
        self.assertRaises(Failure, Client(self.server).login, 'a4@localhost', 'old')
        self.login('a4@localhost', 'new')
        self.assertIn('a5@localhost does not exist',
                      self.refused('user', 'password', 'a5@localhost', '--password', 'x'))

    def test_user_delete(self):
        self.server.add_user('a6@localhost')
        c = self.login('a6@localhost', 'secret')
        self.server.ctl_ok('user', 'delete', 'a6@localhost')
        self.assertEqual(c.ended(), 'not-authorized')
        self.assertRaises(Failure, Client(self.server).login, 'a6@localhost')
        self.assertIn('a6@localhost does not exist',
                      self.refused('user', 'delete', 'a6@localhost'))
        self.server.add_user('a6@localhost', 'again')
        self.login('a6@localhost', 'again')

    def test_user_export(self):
        path = f'{self.server.dir}/export.xml'
        self.assertIn('a8@localhost does not exist',
                      self.refused('user', 'export', 'a8@localhost', path))
        self.assertFalse(os.path.exists(path))
        self.server.ctl_ok('user', 'export', 'juliet@localhost', path)
        with open(path, encoding='utf-8') as f:
            self.assertIn('juliet', f.read())

    def test_user_list(self):
        for i in range(5):
            self.server.add_user(f'list{i}@two.example')
        rows = self.server.ctl_json('user', 'list', 'two.example')
        self.assertEqual([r['jid'] for r in rows], [f'list{i}@two.example' for i in range(5)])
        rows = self.server.ctl_json('user', 'list', 'two.example', '--after', 'list1',
                                    '--limit', '2')
        self.assertEqual([r['jid'] for r in rows], ['list2@two.example', 'list3@two.example'])
        self.assertIn('juliet@localhost', self.server.ctl_ok('user', 'list', 'localhost'))

    def test_user_list_of_a_foreign_domain(self):
        self.assertIn('far.example', self.refused('user', 'list', 'far.example'))

    def test_users_survive_a_kill(self):
        server = Server().start()
        self.addCleanup(server.stop)
        server.add_user('kept@localhost')
        server.kill()
        server.start()
        self.assertEqual(server.ctl_json('user', 'list', 'localhost')[0]['jid'], 'kept@localhost')
        c = Client(server).login('kept@localhost')
        c.close()

    # ---- looking ---------------------------------------------------------------------------------

    def test_sessions_of_nobody(self):
        server = Server().start()
        self.addCleanup(server.stop)
        self.assertEqual(server.ctl_ok('sessions'), 'nobody is online\n')
        self.assertEqual(server.ctl_json('sessions'), [])

    def test_sessions(self):
        c = self.login('juliet@localhost', 'secret')
        rows = self.server.ctl_json('sessions')
        row = [r for r in rows if r['jid'] == c.jid][0]
        self.assertEqual(row['ip'], '127.0.0.1')
        self.assertEqual(row['available'], 'no')
        self.assertLess(row['loop'], int(LOOPS))
        self.assertIn(c.jid, self.server.ctl_ok('sessions'))
        c.close()
        c = self.login('juliet@localhost', 'secret')
        self.assertEqual(len([r for r in self.server.ctl_json('sessions')
                              if r['jid'].startswith('juliet@')]), 1)

    def test_modules(self):
        rows = self.server.ctl_json('modules', '--loops')
        for host in ('localhost', 'two.example'):
            mine = [r for r in rows if r['host'] == host]
            self.assertEqual({r['loop'] for r in mine}, set(range(int(LOOPS))))
            self.assertIn('auth', {r['module'] for r in mine})

    def test_hooks(self):
        rows = self.server.ctl_json('hooks', 'localhost')
        self.assertIn(('offline_message', 100, 'sm'),
                      [(r['hook'], r['priority'], r['module']) for r in rows])
        of_one = [r['priority'] for r in rows if r['hook'] == 'offline_message']
        self.assertEqual(of_one, sorted(of_one))
        self.refused('hooks')
        self.refused('hooks', 'far.example')

    def test_providers(self):
        rows = {r['type']: r for r in self.server.ctl_json('providers', 'localhost')}
        self.assertEqual(set(rows), {'auth', 'roster', 'session'})

    def test_status(self):
        c = self.login('juliet@localhost', 'secret')
        row, = self.server.ctl_json('status')
        self.assertEqual(row['loops'], int(LOOPS))
        self.assertGreaterEqual(row['sessions'], 1)
        self.assertEqual(row['store'], 'ok')
        self.assertRegex(row['version'], r'^\d+\.\d+\.\d+$')
        c.close()

    def test_metrics(self):
        """Prometheus, text format 0.0.4: lines of a family stand together, behind its HELP and TYPE."""
        seen, family, values = set(), None, {}
        for line in self.server.ctl_ok('metrics').splitlines():
            if line.startswith('# HELP '):
                family = line.split()[2]
                self.assertNotIn(family, seen)
                seen.add(family)
            elif line.startswith('# TYPE '):
                self.assertEqual(line.split()[2:],
                                 [family, 'counter' if family.endswith('_total') else 'gauge'])
            else:
                self.assertRegex(line, r'^' + family + r'(\{[a-z]+="[^"\\]+"(,[a-z]+="[^"\\]+")*\})? '
                                       r'\d+(\.\d+)?$')
                name, value = line.rsplit(' ', 1)
                self.assertNotIn(name, values)
                values[name] = float(value)
        row, = self.server.ctl_json('status')
        self.assertEqual(values['grapnel_sessions'], row['sessions'])
        self.assertIn('grapnel_info{version="%s"}' % row['version'], values)
        self.assertGreater(values['grapnel_store_used_bytes'], 0)
        modules = {(r['module'], r['host']) for r in self.server.ctl_json('modules')}
        for module, host in modules:
            self.assertIn('grapnel_module_cpu_seconds_total{module="%s",host="%s"}' % (module, host),
                          values)

    def test_json_of_everything_parses(self):
        for words in (['status'], ['sessions'], ['modules'], ['metrics'], ['hooks', HOST], ['providers', HOST],
                      ['user', 'list', HOST], ['help'], ['reload']):
            with self.subTest(words):
                rows = self.server.ctl_json(*words)
                self.assertIsInstance(rows, list)
                self.assertEqual({type(r) for r in rows} - {dict}, set())

    def test_help_names_every_command(self):
        text = self.server.ctl_ok('help')
        for command in ('user add', 'user delete', 'user password', 'user list', 'sessions',
                        'modules', 'hooks', 'providers', 'status', 'reload', 'stop'):
            self.assertRegex(text, rf'(?m)^{command}\b')
        self.assertIn('module load module [--host HOST]', text)
        self.assertIn('module reload [module]', text)

    # ---- mistakes --------------------------------------------------------------------------------

    def test_unknown_commands(self):
        for words in (['frobnicate'], ['usr', 'add']):
            with self.subTest(words):
                self.assertIn('help', self.refused(*words))
        for words in (['user'], ['user', 'ad'], ['user', 'add ']):
            with self.subTest(words):
                self.assertIn('with user begin: user add, user password, user delete', self.refused(*words))
        self.assertIn('module load, module unload', self.refused('module'))

    def test_a_name_without_a_domain(self):
        self.assertIn('romeo is not an account: write NAME@DOMAIN, such as romeo@localhost',
                      self.refused('user', 'add', 'romeo', '--password', 'x'))
        self.assertIn('far.example is not served here', self.refused('user', 'delete', 'a@far.example'))

    def test_unknown_and_missing_arguments(self):
        for words in (['user', 'add'], ['user', 'list'], ['user', 'list', HOST, '--limit', 'x'],
                      ['user', 'list', HOST, '--limti', '1'], ['user', 'list', HOST, '--limit'],
                      ['user', 'delete', 'a@localhost', 'b@localhost'],
                      ['user', 'add', 'b7@localhost', '--pasword', 'x']):
            with self.subTest(words):
                self.refused(*words)

    def test_usage(self):
        p = run(GRAPNELCTL)
        self.assertEqual(p.returncode, 2)
        self.assertIn('usage:', p.stderr)
        p = run(GRAPNELCTL, '--help')
        self.assertEqual(p.returncode, 0)
        self.assertIn('user add', p.stdout)
        p = run(GRAPNEL)
        self.assertEqual(p.returncode, 2)
        self.assertIn('--config', p.stderr)
        for program in (GRAPNEL, GRAPNELCTL):
            p = run(program, '--nonsense')
            self.assertEqual(p.returncode, 2)
            self.assertRegex(p.stderr.splitlines()[0], 'unknown option')
        p = run(GRAPNEL, '--help')
        self.assertEqual(p.returncode, 0)
        for program in (GRAPNEL, GRAPNELCTL):
            p = run(program, '--version')
            self.assertRegex(p.stdout, rf'^{os.path.basename(program)} \d+\.\d+\.\d+\n$')
            self.assertEqual(p.returncode, 0)

    def test_socket_option_and_its_permissions(self):
        path = f'{self.server.data}/grapnel.sock'
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        p = run(GRAPNELCTL, '--socket', path, 'status')
        self.assertEqual(p.returncode, 0, p.stderr)

    def test_no_server_there(self):
        for name, reason in (('nothing', 'No such file'), ('x' * 200, 'too long')):
            p = run(GRAPNELCTL, '--socket', f'{self.server.dir}/{name}', 'status')
            self.assertEqual(p.returncode, 1)
            self.assertRegex(p.stderr, f'no server answers at .*{reason}')

    def test_garbage_on_the_socket(self):
        for data in (b'', b'\0', b'status', b'\xff' * 100000, b'a\0' * 100000, b'user\0add\0',
                     b'status\0\0more'):
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(TIMEOUT)
                s.connect(f'{self.server.data}/grapnel.sock')
                try:
                    s.sendall(data)
                    s.shutdown(socket.SHUT_WR)
                    while s.recv(65536):
                        pass
                except (ConnectionError, BrokenPipeError):
                    pass
        self.server.ctl_ok('status')

    def test_many_at_once(self):
        processes = [subprocess.Popen([GRAPNELCTL, '--config', self.server.ini, 'status'],
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                     for _ in range(12)]
        for p in processes:
            out, err = p.communicate(timeout=TIMEOUT)
            self.assertEqual((p.returncode, err), (0, b''))
            self.assertIn(b'uptime', out)


class Silent(unittest.TestCase):
    """Something listens at the socket and does not answer as a server does."""

    def setUp(self):
        self.path = f'{TMP}/silent-{self._testMethodName}-{LOOPS}.sock'
        self.listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.listener.close)
        self.listener.bind(self.path)

    def ask(self, seconds):
        begun = time.monotonic()
        p = run(GRAPNELCTL, '--socket', self.path, '--timeout', seconds, 'status')
        self.assertGreaterEqual(time.monotonic() - begun, float(seconds) - 0.1)
        return p

    def assert_silent(self, p, seconds):
        self.assertEqual((p.returncode, p.stdout), (3, ''), p.stderr)
        self.assertRegex(p.stderr, rf'^grapnelctl: the server at {self.path} has said nothing for '
                                   rf'{seconds} s.*--timeout.*\n$')

    def test_it_never_answers(self):
        self.listener.listen()
        self.assert_silent(self.ask('1'), 1)

    def test_it_does_not_even_accept(self):
        self.listener.listen(0)
        with socket.socket(socket.AF_UNIX) as first:   # the queue is full
            first.connect(self.path)
            self.assert_silent(self.ask('1'), 1)

    def answer(self, pieces, gap):
        """Accepts one, and sends it something every `gap` seconds."""
        def serve():
            s, _ = self.listener.accept()
            with s:
                for piece in pieces:
                    s.sendall(piece)
                    threading.Event().wait(gap)        # the passing of time is what is tested
        self.listener.listen()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        self.addCleanup(thread.join)

    def test_whoever_says_something_is_waited_for(self):
        self.answer([b'row\0', b's:one=1\0', b's:two=2\0', b's:three=3\0', b'ok\0\0'], 0.6)
        p = self.ask('2')
        self.assertEqual((p.returncode, p.stderr), (0, ''))
        self.assertIn('three', p.stdout)

    def test_an_answer_that_stops_in_its_middle(self):
        self.answer([b'row\0s:one=1\0'], 3)
        self.assert_silent(self.ask('1'), 1)

    def test_a_server_that_goes(self):
        self.answer([b'row\0'], 0)
        p = run(GRAPNELCTL, '--socket', self.path, 'status')
        self.assertEqual((p.returncode, p.stdout), (1, ''))
        self.assertIn('the server gave no answer', p.stderr)

    def test_time_that_is_none(self):
        for value in ('', 'x', '-1', '1s', '1000001', '9' * 30):
            p = run(GRAPNELCTL, '--socket', self.path, '--timeout', value, 'status')
            self.assertEqual(p.returncode, 2, value)
            self.assertIn('write seconds', p.stderr)


class Stuck(unittest.TestCase):
    """A module that does not come back: whoever waits for it gives up, and the log says where it is."""

    def stuck(self, *words, says, file='stuck', loaded=('stuck',)):
        server = Server(modules=loaded, module_path=f'{BUILD}/tests/modules').start()
        self.addCleanup(server.stop)
        file = f'{server.dir}/{file}'
        with open(file, 'w', encoding='ascii'):
            pass
        if words[0] == 'stuck':
            words = (*words, file)
        p = run(GRAPNELCTL, '--config', server.ini, '--timeout', '1', *words)
        self.assertEqual((p.returncode, p.stdout), (3, ''))
        self.assertIn('has said nothing for 1 s', p.stderr)
        ask = subprocess.Popen([GRAPNELCTL, '--config', server.ini, 'status'],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        server.wait_log(rf'error loop\.stuck: loop \d has been at one thing for 5000 ms, in {says}: ')
        server.wait_log(r'error loop\.stuck: the main thread ')  # it waits for that loop
        os.unlink(file)
        server.wait_log(r'info loop\.back: loop \d ')
        server.wait_log(r'info loop\.back: the main thread ')
        ask.communicate(timeout=TIMEOUT)
        self.assertEqual(ask.returncode, 0)
        self.assertEqual(len([l for l in server.lines if ' loop.stuck: loop ' in l]), 1)

    def test_in_a_hook(self):
        self.stuck('stuck', 'hook', says='mod_stuck, hook remove_domain')

    def test_in_a_command(self):
        self.stuck('stuck', 'here', says='mod_stuck')

    def test_in_its_start(self):
        self.stuck('module', 'load', 'stuck', file='start', loaded=(), says='mod_stuck')


    def test_commands_that_nobody_waits_for_any_more(self):
        """Each keeps its place only as long as its client is there."""
        server = Server(modules=['stuck'], module_path=f'{BUILD}/tests/modules').start()
        self.addCleanup(server.stop)
        half = socket.socket(socket.AF_UNIX)           # says no more, but listens
        self.addCleanup(half.close)
        half.settimeout(TIMEOUT)
        half.connect(f'{server.data}/grapnel.sock')
        half.sendall(b'stuck\0never\0\0')
        half.shutdown(socket.SHUT_WR)
        for _ in range(3):
            clients = [socket.socket(socket.AF_UNIX) for _ in range(31)]
            for s in clients:
                s.connect(f'{server.data}/grapnel.sock')
                s.sendall(b'stuck\0never\0\0')
            end = time.monotonic() + TIMEOUT
            while server.ctl('status').returncode == 0 and time.monotonic() < end:
                pass                                   # until all of them have been accepted
            self.assertEqual(server.ctl('status').returncode, 1)
            for s in clients:
                s.close()
            while server.ctl('status').returncode != 0 and time.monotonic() < end:
                pass
            server.ctl_ok('status')
        server.ctl_ok('module', 'unload', 'stuck')     # which ends them all
        self.assertIn(b'has gone without finishing', half.recv(4096))

    def ends_all_the_same(self, *words, says, waits):
        """A stop that is asked for while a loop is stuck, and what was acknowledged is kept."""
        server = Server(modules=['stuck'], module_path=f'{BUILD}/tests/modules').start()
        self.addCleanup(server.stop)
        server.add_user('romeo@localhost')
        file = f'{server.dir}/stuck'
        with open(file, 'w', encoding='ascii'):
            pass
        ask = subprocess.Popen([GRAPNELCTL, '--config', server.ini, *words, file],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        server.wait_log(r'loop\.stuck: loop')
        if waits:                                      # the main thread, which cannot see the signal
            subprocess.run([GRAPNELCTL, '--config', server.ini, '--timeout', '1', 'status'],
                           capture_output=True, check=False)
        server.signal(signal.SIGTERM)
        self.assertEqual(server.wait_end(60), 1)
        server.wait_log(rf'error server\.given_up: the stop .* has to wait for {says}: the process ends')
        self.assertEqual(ask.communicate(timeout=TIMEOUT)[0], '')
        server.assert_clean()
        os.unlink(file)
        server.start()
        self.assertIn('romeo', server.ctl_ok('user', 'list', 'localhost'))

    def test_stop_while_stuck(self):
        self.ends_all_the_same('stuck', 'hook', says='mod_stuck, hook remove_domain', waits=False)

    def test_stop_while_the_main_thread_waits(self):
        self.ends_all_the_same('stuck', 'here', says='mod_stuck', waits=True)

    def test_stop_before_it_has_started(self):
        server = Server(modules=('stuck',), module_path=f'{BUILD}/tests/modules')
        with open(f'{server.dir}/start', 'w', encoding='ascii'):
            pass
        server.spawn()
        self.addCleanup(os.unlink, f'{server.dir}/start')
        end = time.monotonic() + TIMEOUT
        while not os.path.exists(f'{server.data}/module.loading') and time.monotonic() < end:
            time.sleep(0.01)                           # its start() is next
        server.signal(signal.SIGTERM)
        self.assertEqual(server.wait_end(60), 1)
        server.wait_log(r'error server\.given_up: ')


class Crash(unittest.TestCase):
    """Who was at work is the last line of the log, and the signal does what it does without us."""

    def setUp(self):
        options = {f'{tool}_OPTIONS': os.environ.get(f'{tool}_OPTIONS', '') + ':handle_segv=0'
                   for tool in ('ASAN', 'TSAN')}       # no reports of crashes that are meant to be
        patch = unittest.mock.patch.dict(os.environ, options)
        patch.start()
        self.addCleanup(patch.stop)

    def crash(self, how, number, says):
        server = Server(modules=['crash'], module_path=f'{BUILD}/tests/modules').start()
        server.ctl('crash', how)
        self.assertEqual(server.wait_end(), -number)
        self.assertEqual([l for l in server.lines if 'crashed' in l], [f'grapnel: crashed: {says}'])
        server.start()                                 # nobody is left out for that
        self.assertIn('crash', server.ctl_ok('modules'))
        server.stop()

    def test_in_a_hook(self):
        self.crash('hook', signal.SIGSEGV, 'SIGSEGV in mod_crash, hook remove_domain')

    def test_abort(self):
        self.crash('abort', signal.SIGABRT, 'SIGABRT in mod_crash')

    def test_without_a_stack(self):
        self.crash('deep', signal.SIGSEGV, 'SIGSEGV in mod_crash')

    def test_a_signal_from_outside(self):
        server = Server().start()
        server.signal(signal.SIGSEGV)
        self.assertEqual(server.wait_end(), -signal.SIGSEGV)
        self.assertFalse(server.has_logged('crashed'))


class Life(unittest.TestCase):
    def test_stop(self):
        server = Server().start()
        self.assertEqual(server.ctl('stop').returncode, 0)
        self.assertEqual(server.wait_end(), 0)
        server.assert_clean()
        self.assertFalse(os.path.exists(f'{server.data}/grapnel.sock'))

    def test_signals(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            server = Server().start()
            server.signal(number)
            self.assertEqual(server.wait_end(), 0)
            server.assert_clean()

    def test_starts_again_after_a_kill(self):
        server = Server().start()
        server.kill()
        server.start()                                 # the socket's file is still there
        server.ctl_ok('status')
        server.stop()

    def test_stop_with_many_clients(self):
        server = Server().start()
        server.add_user('juliet@localhost')
        streams = [Client(server).login('juliet@localhost') for _ in range(20)]
        server.stop()
        for c in streams:
            self.assertEqual(c.ended(), 'system-shutdown')

    def test_reload_reports_a_bad_configuration(self):
        server = Server().start()
        self.addCleanup(server.stop)
        server.set('server', lops='1')
        p = server.ctl('reload')
        self.assertEqual(p.returncode, 1)
        self.assertRegex(p.stderr, r'grapnel\.ini:\d+: .*`lops`.*`loops`')
        del server.sections['server']['lops']
        server.write_config()
        server.ctl_ok('reload')

    def test_reload_reports_everything_at_once(self):
        server = Server(modules=['ping']).start()
        self.addCleanup(server.stop)
        server.set('limits', login_timeout='x')
        server.set('mod_ping', ping_interval='y')
        p = server.ctl('reload')
        self.assertRegex(p.stderr, r'(?s)login_timeout.*\n.*ping_interval')
        server.set('limits', login_timeout='7s')
        server.set(f'host {HOST}', certificate='/nonexistent/x.pem')
        p = server.ctl('reload')
        self.assertRegex(p.stderr, r'(?s)x\.pem.*\n.*ping_interval')
        server.set('limits', login_timeout='x')
        p = server.ctl('reload')
        self.assertRegex(p.stderr, r'(?s)^grapnelctl: \S+: `login_timeout.*\n.*x\.pem.*\n.*ping_interval')
        self.assertEqual(p.stderr.count('\n'), 3, p.stderr)
        self.assertEqual(server.check()[1].splitlines(),
                         p.stderr.removeprefix('grapnelctl: ').splitlines())

    def test_a_certificate_that_was_not_understood_is_not_missed_as_well(self):
        server = Server(hosts=(HOST,)).start()
        self.addCleanup(server.stop)
        server.set(f'host {HOST}', certificate=None, certifcate=certificate(HOST))
        p = server.ctl('reload')
        self.assertRegex(p.stderr, r'`certifcate`: did you mean `certificate`\?\n$')
        self.assertEqual(p.stderr.count('\n'), 1, p.stderr)

    def test_reload_tells_that_a_module_was_switched_on(self):
        server = Server(modules=['ping']).start()
        self.addCleanup(server.stop)
        server.set('mod_ping', enabled='no')
        self.assertTrue(server.ctl_ok('reload').startswith('[mod_ping]: removed (live)\n'))
        server.set('mod_ping', enabled=None)
        self.assertTrue(server.ctl_ok('reload').startswith('[mod_ping]: added (live)\n'))

    def test_ctl_finds_the_socket_in_a_broken_configuration(self):
        server = Server().start()
        self.addCleanup(server.stop)
        server.set('nonsense', a=1)
        server.set('limits', login_timeout='x')
        server.ctl_ok('status')
        server.set('server', ctl_socket='')            # as if it were not there
        server.ctl_ok('status')
        server.set('server', ctl_socket=f'{server.dir}/elsewhere')
        self.assertRegex(server.ctl('status').stderr, r'no server answers at .*/elsewhere: ')
        p = run(GRAPNELCTL, '--config', '/nonexistent.ini', 'status')
        self.assertEqual(p.returncode, 1)
        self.assertIn('/nonexistent.ini', p.stderr)

    def test_reload_tells_what_changed(self):
        server = Server().start()
        self.addCleanup(server.stop)
        server.set('limits', login_timeout='7s')
        self.assertIn('login_timeout', server.ctl_ok('reload'))
        self.assertEqual(server.ctl_ok('reload'), 'options and modules are those in use; '
                                                   'certificates were read again\n')
        server.set('server', workers=3)
        self.assertRegex(server.ctl_ok('reload'), r'workers.*(start|restart)')

    def test_sighup_with_a_bad_configuration_changes_nothing(self):
        server = Server().start()
        self.addCleanup(server.stop)
        server.add_user('juliet@localhost')
        c = Client(server).login('juliet@localhost')
        since = server.log_now()
        server.set('nonsense', a=1)
        self.assertFalse(server.reload())
        server.wait_log(r'there is no section \[nonsense\]', since)
        c.silent()
        Client(server).login('juliet@localhost').close()


class Refused(unittest.TestCase):
    """--check and the start itself: the same sentence, exit status 1."""

    def both(self, server, pattern, lines=1):
        status, text = server.check()
        self.assertEqual(status, 1, text)
        self.assertRegex(text, pattern)
        self.assertEqual(len(text.strip().splitlines()), lines, text)
        self.start_refused(server, pattern, lines)

    def start_refused(self, server, pattern, lines=1):
        p = run(GRAPNEL, '--config', server.ini)
        self.assertEqual(p.returncode, 1, p.stderr)
        said = [l for l in p.stderr.splitlines() if l.strip()]
        self.assertRegex(p.stderr, pattern)
        self.assertEqual(len(said), lines, p.stderr)

    def test_good_configuration(self):
        self.assertEqual(Server().check(), (0, ''))

    def test_unknown_option_with_the_nearest_word(self):
        for section, option, near in (('server', 'lops', 'loops'), ('limits', 'login_timout',
                                      'login_timeout'), ('listen c2s', 'prot', 'port'),
                                      ('host localhost', 'certifcate', 'certificate')):
            with self.subTest(option):
                server = Server()
                server.set(section, **{option: 1})
                with open(server.ini, encoding='utf-8') as f:
                    line = 1 + f.read().splitlines().index(f'{option} = 1')
                self.both(server, rf'grapnel\.ini:{line}: .*`{option}`.*did you mean `{near}`')

    def test_wrong_values(self):
        for section, option, value in (
                ('limits', 'login_timeout', '30'), ('limits', 'login_timeout', '30x'),
                ('limits', 'login_timeout', '-1s'), ('limits', 'stanza_c2s', 'big'),
                ('limits', 'stanza_c2s', '1'), ('limits', 'auth_retries', '1.5'),
                ('listen c2s', 'port', '99999'), ('listen c2s', 'port', 'http'),
                ('listen c2s', 'tls', 'maybe'), ('listen c2s', 'type', 'smtp'),
                ('host localhost', 'admins', '@@'), ('host localhost', 'plain', 'yes'),
                ('server', 'loops', '0x10'), ('server', 'loops', '1000')):
            with self.subTest(option=option, value=value):
                server = Server()
                server.set(section, **{option: value})
                self.both(server, rf'grapnel\.ini:\d+: .*{option}')

    def test_unknown_section(self):
        self.both(Server(extra='[hots x.example]\n'), r'grapnel\.ini:\d+: .*\[hots\].*\[host\]')

    def test_line_that_is_nothing(self):
        self.both(Server(extra='[mod_x\n'), r'grapnel\.ini:\d+: ')
        self.both(Server(extra='what is this\n'), r'grapnel\.ini:\d+: ')

    def test_option_given_twice(self):
        self.both(Server(extra='[limits]\nauth_retries = 2\nauth_retries = 3\n'),
                  r'grapnel\.ini:\d+: .*auth_retries.*twice')

    def test_address_that_is_none(self):
        self.both(Server(listen={'address': '1.2.3'}), r'1\.2\.3')

    def test_no_listener_of_a_name(self):
        self.both(Server(extra='[listen]\ntype = c2s\n'), r'grapnel\.ini:\d+: ')

    def test_missing_module(self):
        self.both(Server(modules=['nosuchthing']), r'grapnel\.ini:\d+: .*mod_nosuchthing')

    def test_module_that_is_no_module(self):
        server = Server(modules=['broken'])
        folder = f'{server.dir}/modules'
        os.mkdir(folder)
        with open(f'{folder}/mod_broken.so', 'w', encoding='utf-8') as f:
            f.write('not a shared object\n' * 50)
        server.set('server', module_path=folder)
        self.both(server, r'mod_broken\.so')

    def test_what_this_version_does_not_serve(self):
        server = Server()
        server.set('listen x', type='s2s', port=5269)
        server.set('component c.example', secret='x')
        with open(server.ini, encoding='utf-8') as f:
            lines = f.read().splitlines()
        at = [1 + lines.index(f'[{name}]') for name in ('listen x', 'component c.example')]
        says = (rf'grapnel\.ini:{at[0]}: \[listen x\]: this version speaks type = c2s only\n'
                rf'.*grapnel\.ini:{at[1]}: \[component c\.example\]: this version serves no components')
        self.both(server, says, lines=2)
        server.drop('listen x')
        server.drop('component c.example')
        server.start()
        self.addCleanup(server.stop)
        server.set('listen x', type='s2s', port=5269)
        p = server.ctl('reload')
        self.assertEqual(p.returncode, 1)
        self.assertRegex(p.stderr, r'grapnel\.ini:\d+: \[listen x\]: this version speaks')

    def test_unreadable_certificate(self):
        self.both(Server(hosts=(HOST,), host={'certificate': '/nonexistent/x.pem'}),
                  r'/nonexistent/x\.pem')

    def test_certificate_that_is_none(self):
        server = Server(hosts=(HOST,))
        path = f'{server.dir}/junk.pem'
        with open(path, 'w', encoding='utf-8') as f:
            f.write('junk\n')
        server.set(f'host {HOST}', certificate=path)
        self.both(server, r'junk\.pem')

    def test_key_of_another_certificate(self):
        server = Server(hosts=(HOST,))
        pem = certificate('other.example')
        server.set(f'host {HOST}', key=pem + '.key')
        self.both(server, r'key')

    def test_key_that_everybody_may_read(self):
        server = Server(hosts=(HOST,))
        path = f'{server.dir}/open.pem'
        with open(certificate(HOST), encoding='ascii') as f, \
                open(path, 'w', encoding='ascii') as out:
            out.write(f.read())
        os.chmod(path, 0o644)
        server.set(f'host {HOST}', certificate=path)
        self.both(server, r'open\.pem.*chmod')

    def test_no_configuration_file(self):
        for extra in ([], ['--check']):
            p = run(GRAPNEL, '--config', '/nonexistent.ini', *extra)
            self.assertEqual(p.returncode, 1)
            self.assertIn('/nonexistent.ini', p.stderr)

    def test_every_mistake_is_told_at_once(self):
        server = Server()
        server.set('limits', login_timeout='x', auth_retries='y')
        server.set('server', nonsense=1)
        self.both(server, r'login_timeout', lines=3)

    def test_mistakes_of_the_core_and_of_modules_at_once(self):
        server = Server(modules=['ping'])
        server.set('limits', login_timeout='x')
        server.set('mod_ping', ping_interval='y')
        self.both(server, r'(?s)login_timeout.*\n.*ping_interval', lines=2)

    def test_certificate_and_module_at_once(self):
        server = Server(modules=['ping'], hosts=(HOST, HOST2))
        server.set(f'host {HOST}', certificate='/nonexistent/x.pem')
        server.set(f'host {HOST2}', certificate='/nonexistent/y.pem')
        server.set('mod_ping', ping_interval='y')
        with open(server.ini, encoding='utf-8') as f:
            lines = f.read().splitlines()
        status, text = server.check()
        said = text.splitlines()
        self.assertEqual((status, len(said)), (1, 3), text)
        for name, host, line in (('x', HOST, said[0]), ('y', HOST2, said[1])):
            number = 1 + lines.index(f'certificate = /nonexistent/{name}.pem')
            self.assertIn(f'grapnel.ini:{number}: [host {host}]: ', line)
            self.assertIn(f'/nonexistent/{name}.pem', line)
        self.assertIn('ping_interval', said[2])

    def test_occupied_port(self):
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            s.listen()
            port = s.getsockname()[1]
            self.start_refused(Server(listen={'port': port}), rf'grapnel\.ini:\d+: c2s: port {port} .*in use')

    def test_port_of_another_server(self):
        server = Server().start()
        self.addCleanup(server.stop)
        self.start_refused(Server(listen={'port': server.port}), rf'port {server.port} .*in use')
        server.ctl_ok('status')

    def test_second_server_on_the_same_data(self):
        server = Server().start()
        self.addCleanup(server.stop)
        second = Server(server={'data_dir': server.data})
        self.start_refused(second, re.escape(server.data) + '.*in use')
        server.ctl_ok('status')                        # its socket is still its own

    def test_data_folder_that_cannot_be_made(self):
        self.start_refused(Server(server={'data_dir': '/proc/nowhere/data'}), '/proc/nowhere/data')

    def test_socket_path_too_long(self):
        server = Server()
        server.set('server', ctl_socket=f'{server.dir}/{"x" * 120}')
        self.both(server, r'ctl_socket')

    def test_options_are_a_valid_configuration(self):
        text = run(GRAPNEL, '--options').stdout
        self.assertIn('data_dir', text)
        self.assertRegex(text, r'(?m)^;.*loops')
        self.assertNotIn('[mod_', text)

    def test_options_of_modules(self):
        server = Server(modules=['ping', 'roster'])
        text = run(GRAPNEL, '--config', server.ini, '--options').stdout
        self.assertIn('data_dir', text)
        self.assertRegex(text, r'(?ms)^\[mod_ping\]$.*^;ping_interval = ')
        self.assertEqual(text.count('[mod_ping]'), 1)
        server.set('mod_ping', nonsense=1)
        p = run(GRAPNEL, '--config', server.ini, '--options')
        self.assertEqual(p.returncode, 1)
        self.assertIn('nonsense', p.stderr)


if __name__ == '__main__':
    tap.main()
