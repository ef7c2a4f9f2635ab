"""tests/wire/test_examples.py: the modules of docs/examples, built outside of the tree with the installed
headers, each dropped into a running server, used by clients, and taken off again.  test-timeout: 400"""
import contextlib
import glob
import itertools
import os
import re
import shutil
import subprocess
import time
import unittest

import tap
from server import BUILD, SRC, TIMEOUT, TMP, Server
from xmpp import CLIENT, ROSTER, Client, Failure, q, show, stanza_error, text_of

EXAMPLES = f'{SRC}/docs/examples'
NAMES = sorted(os.path.basename(path) for path in glob.glob(f'{EXAMPLES}/mod_*'))
BIND = "<iq type='set' id='{id}'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"
DUMMY, DICE, TALLY = 'xmpp:xep:example', 'urn:example:dice', 'urn:example:tally'
LINES_MAX = 100                         # of an example, without empty ones and comments

numbers = itertools.count(1)


def read(path):
    with open(path, encoding='utf-8') as f:
        return f.read()


def run(*argv, **options):
    p = subprocess.run(argv, capture_output=True, text=True, timeout=6 * TIMEOUT, check=False,
                       **options)
    assert p.returncode == 0, f'{argv}: status {p.returncode}\n{p.stdout}{p.stderr}'
    return p.stdout + p.stderr


def message(to, body):
    return f"<message type='chat' to='{to}'><body>{body}</body></message>"


class Installed(unittest.TestCase):
    """What `make install DESTDIR=...` gives, and a copy of the examples next to it."""

    @classmethod
    def setUpClass(cls):
        cls.dest, cls.copy = f'{TMP}/dest', f'{TMP}/examples'
        if os.path.exists(cls.dest):
            return
        run('make', '-s', '-C', SRC, f'BUILD={BUILD}', f'DESTDIR={cls.dest}', 'PREFIX=/usr',
            'SYSCONF=/etc', 'install-files')
        shutil.copytree(EXAMPLES, cls.copy, ignore=shutil.ignore_patterns('*.so'))
        cls.make(cls.copy, 'all')

    @classmethod
    def make(cls, folder, *words):
        """Every warning of the compiler is an error."""
        env = {'PATH': os.environ['PATH'], 'PKG_CONFIG_SYSROOT_DIR': cls.dest,
               'PKG_CONFIG_PATH': f'{cls.dest}/usr/lib/pkgconfig'}
        return run('make', '-s', '-B', '-C', folder, 'CFLAGS=-O1 -Wall -Wextra -Werror', *words,
                   env=env)


class Texts(Installed):
    def test_each_is_short_and_has_a_page(self):
        guide = read(f'{SRC}/docs/modules.md')
        for name in NAMES:
            with self.subTest(name=name):
                source = read(f'{EXAMPLES}/{name}/{name}.c')
                code = [line for line in re.sub(r'/\*.*?\*/', '', source, flags=re.S).split('\n')
                        if line.strip()]
                self.assertLessEqual(len(code), LINES_MAX)
                self.assertLessEqual(max(map(len, source.split('\n'))), 100)
                self.assertNotRegex(source, r'#include [<"](?!grapnel/|\w+\.h>|[./\w]*dice\.h")')
                page = read(f'{EXAMPLES}/{name}/{name}.md')
                self.assertTrue(page.startswith(f'# {name}\n'))
                self.assertRegex(page, rf'\[{name}( \S+)?\]\n')
                for option in re.findall(r'GR_OPT_\w+\(struct \w+, (\w+)', source):
                    self.assertIn(f'`{option}`', page)
                self.assertIn(f'examples/{name}', guide)

    def test_each_is_built_alone_by_any_compiler(self):
        for compiler in filter(shutil.which, ('gcc', 'clang')):
            folder = f'{TMP}/examples_{compiler}'
            shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns('*.so'))
            for name in NAMES:
                with self.subTest(compiler=compiler, name=name):
                    self.make(folder, f'CC={compiler}', name)
                    self.assertTrue(os.path.exists(f'{folder}/{name}/{name}.so'))

    def test_install(self):
        self.make(self.copy, f'DESTDIR={TMP}/there', 'MODULES=/lib', 'install')
        self.assertEqual(sorted(os.listdir(f'{TMP}/there/lib')), [f'{n}.so' for n in NAMES])


class Examples(Installed):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.drop = f'{TMP}/drop'
        os.makedirs(cls.drop, exist_ok=True)
        cls.server = Server(modules=['roster', 'presence'], module_path=cls.drop,
                            limits={'sessions_per_account': 20}).start()
        cls.addClassCleanup(cls.server.stop)

    def put(self, name):
        shutil.copy(f'{self.copy}/mod_{name}/mod_{name}.so', f'{self.drop}/mod_{name}.so.new')
        os.rename(f'{self.drop}/mod_{name}.so.new', f'{self.drop}/mod_{name}.so')

    def configure(self, name, **options):
        self.server.conf_d(f'{name}.ini', f'[mod_{name}]\n' + ''.join(
            f'{key} = {value}\n' for key, value in options.items()))

    @contextlib.contextmanager
    def enabled(self, name, **options):
        """Dropped in as two files; afterwards nothing of it is left."""
        self.put(name)
        self.configure(name, **options)
        self.assertIn(f'[mod_{name}]: added (live)', self.server.ctl_ok('reload'))
        try:
            yield self.server
        finally:
            self.server.conf_d(f'{name}.ini', None)
            told = self.server.ctl_ok('reload')
            os.unlink(f'{self.drop}/mod_{name}.so')
        self.assertIn(f'mod_{name}', told)
        self.assertNotIn(f'mod_{name} ', self.server.ctl_ok('modules'))

    def new_code(self, name, *changes):
        """The module as somebody who edits it would have it."""
        path = f'{self.copy}/mod_{name}/mod_{name}.c'
        source = text = read(f'{EXAMPLES}/mod_{name}/mod_{name}.c')
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        try:
            with open(path, 'w', encoding='utf-8') as f:
                f.write(text)
            self.make(self.copy, f'mod_{name}')
            self.put(name)
            self.assertIn(f'mod_{name}: new code', self.server.ctl_ok('reload'))
        finally:
            with open(path, 'w', encoding='utf-8') as f:
                f.write(source)
            self.make(self.copy, f'mod_{name}')

    def user(self, name='user'):
        return self.server.add_user(f'{name}{next(numbers)}@localhost')

    def login(self, jid=None, resource=None, **how):
        c = Client(self.server)
        self.addCleanup(c.abort)
        return c.login(jid or self.user(), resource=resource, **how)

    def headline(self, client):
        return text_of(client.stanza('message', from_='localhost', type='headline'), 'body')

    def ask_host(self, client, xml):
        return client.request(f"<iq type='get' id='{{id}}' to='localhost'>{xml}</iq>")

    def refused(self, jid):
        """The error with which binding ends."""
        with Client(self.server) as c:
            answer = c.authenticated(jid).request(BIND)
            self.assertEqual(answer.get('type'), 'error', show(answer))
            return stanza_error(answer)

    # ---- one each --------------------------------------------------------------------------------

    def test_welcome(self):
        with self.enabled('welcome', text='Hello, <you>.'):
            juliet, romeo = self.user(), self.user()
            self.assertEqual(self.headline(self.login(juliet)), 'Hello, <you>.')
            again = self.login(juliet)
            self.assertEqual(self.headline(self.login(romeo)), 'Hello, <you>.')
            again.silent()
            self.server.ctl_ok('user', 'delete', juliet)
            self.server.add_user(juliet)
            self.assertEqual(self.headline(self.login(juliet)), 'Hello, <you>.')

    def test_wordfilter_masks(self):
        with self.enabled('wordfilter', words='darn, heck'):
            a, b = self.login(), self.login()
            a.send(f"<message type='chat' to='{b.jid}'><body xml:lang='en'>Darn! What the HECK"
                   "</body><x xmlns='urn:example:other'/></message>")
            el = b.stanza('message', from_=a.jid)
            self.assertEqual(text_of(el, 'body'), '****! What the ****')
            self.assertEqual(el.find(q(CLIENT, 'body')).get(
                '{http://www.w3.org/XML/1998/namespace}lang'), 'en')
            self.assertIsNotNone(el.find(q('urn:example:other', 'x')))
            a.silent()

    def test_wordfilter_refuses(self):
        with self.enabled('wordfilter', words='darn', action='refuse'):
            a, b = self.login(), self.login()
            a.send(message(b.jid, 'darn it'))
            error = a.stanza('message', from_=b.jid, type='error')
            self.assertEqual(stanza_error(error), ('modify', 'not-acceptable'))
            a.send(message(b.jid, 'a fine day'))
            self.assertEqual(text_of(b.stanza('message'), 'body'), 'a fine day')

    def test_pace(self):
        with self.enabled('pace', messages=2, time='1h'):
            jid = self.user()
            a, other, b = self.login(jid), self.login(jid), self.login()
            for text in '123':
                a.send(message(b.jid, text))
            self.assertEqual(stanza_error(a.stanza('message', type='error')),
                             ('wait', 'policy-violation'))
            other.send(message(b.jid, '4'))
            self.assertEqual([text_of(b.stanza('message'), 'body') for _ in range(3)],
                             ['1', '2', '4'])
            self.configure('pace', messages=3, time='1h')
            self.server.ctl_ok('reload')               # the slot stays: one more
            for text in '56':
                a.send(message(b.jid, text))
            self.assertEqual(stanza_error(a.stanza('message', type='error')),
                             ('wait', 'policy-violation'))
            self.assertEqual(text_of(b.stanza('message'), 'body'), '5')

    def test_ban(self):
        listed, jid, other = self.user(), self.user(), self.user()
        with self.enabled('ban', jids=listed) as server:
            self.assertEqual(self.refused(listed), ('cancel', 'not-allowed'))
            a, b = self.login(jid), self.login(other)
            server.ctl_ok('ban', 'add', jid)
            self.assertEqual(a.ended(), 'policy-violation')
            a.abort()
            self.assertEqual(self.refused(jid), ('cancel', 'not-allowed'))
            b.silent()
            b.close()
            server.restart()
            self.assertEqual(self.refused(jid), ('cancel', 'not-allowed'))
            server.ctl_ok('ban', 'remove', jid)
            self.login(jid).silent()

    def test_dummy_reaches_the_addressee_and_the_result_returns(self):
        with self.enabled('dummy'):
            a, b = self.login(), self.login()
            a.send(f"<iq type='set' id='d1' to='{b.jid}'><dummy xmlns='{DUMMY}'>Romeo</dummy></iq>")
            got = b.stanza('iq', type='set', id='d1', from_=a.jid, to=b.jid)
            self.assertEqual(text_of(got, 'dummy', DUMMY), 'Romeo')
            b.send(f"<iq type='result' id='d1' to='{a.jid}'>"
                   f"<dummy xmlns='{DUMMY}'>Juliet</dummy></iq>")
            got = a.stanza('iq', type='result', id='d1', from_=b.jid, to=a.jid)
            self.assertEqual(text_of(got, 'dummy', DUMMY), 'Juliet')
            # The read waits for the write, which would otherwise keep the module for a moment.
            self.assertEqual(self.dummies(a, 'sent'), [(b.jid.split('/')[0], 'Romeo')])

    def dummies(self, client, which, to=''):
        """[(address, text)] of a list."""
        answer = client.request(f"<iq type='get' id='{{id}}'{to}><{which} xmlns='{DUMMY}'/></iq>")
        if answer.get('type') == 'error':
            return stanza_error(answer)
        return [(el.get('from') or el.get('to'), text_of(el, 'dummy', DUMMY))
                for el in answer.find(q(DUMMY, which))]

    def dummy(self, client, to, text):
        return client.request(f"<iq type='set' id='{{id}}' to='{to}'>"
                              f"<dummy xmlns='{DUMMY}'>{text}</dummy></iq>")

    def test_dummy_lists(self):
        juliet, romeo = self.user(), self.user()
        with self.enabled('dummy', max_items=2) as server:
            a, b = self.login(romeo), self.login(juliet)
            for text in ('Romeo', 'Mercutio'):
                self.assertEqual(self.dummy(a, juliet, text).get('type'), 'result')
            self.assertEqual(stanza_error(self.dummy(a, juliet, 'Tybalt')),
                             ('modify', 'policy-violation'))
            self.assertEqual(self.dummies(b, 'received'), [(romeo, 'Romeo'), (romeo, 'Mercutio')])
            self.assertEqual(self.dummies(b, 'sent'), [])
            self.assertEqual(self.dummies(a, 'sent'), [(juliet, 'Romeo'), (juliet, 'Mercutio')])
            self.assertEqual(self.dummies(a, 'received', f" to='{juliet}'"),
                             ('cancel', 'service-unavailable'))
            b.silent()

            self.configure('dummy', max_items=3)
            server.ctl_ok('reload')                    # no stream has anything to lose
            self.assertEqual(self.dummy(a, juliet, 'Tybalt').get('type'), 'result')
            self.assertEqual(len(self.dummies(b, 'received')), 3)
            server.ctl_ok('user', 'delete', juliet)
            server.add_user(juliet)
            self.assertEqual(self.dummies(self.login(juliet), 'received'), [])

    def test_dummy_is_announced(self):
        with self.enabled('dummy'):
            self.put('dummy')
            self.server.set('mod_disco')
            self.addCleanup(self.server.ctl_ok, 'reload')
            self.addCleanup(self.server.drop, 'mod_disco')
            self.server.ctl_ok('reload')
            answer = self.login().request("<iq type='get' id='{id}'><query "
                                          "xmlns='http://jabber.org/protocol/disco#info'/></iq>")
            self.assertIn(f"var=\"{DUMMY}\"", show(answer))

    def test_names(self):
        with self.enabled('names', accounts='corp-juliet:secret, corp-romeo:other:word') as server:
            name = 'juliet'
            c = self.login(f'{name}@localhost', mechanism='PLAIN')
            self.assertEqual(c.jid.split('/')[0], f'{name}@localhost')
            with Client(server) as c:
                self.assertEqual(c.secure() and c.mechanisms(), ['PLAIN'])
                for user, password in ((name, 'wrong'), ('nobody', 'secret'), ('', '')):
                    with self.assertRaises(Failure):
                        c.authenticate(user, password, 'PLAIN')
            other = name.replace('juliet', 'romeo') + '@localhost'
            self.login(other, password='other:word', mechanism='PLAIN')
            self.assertIn('names', server.ctl_ok('providers', 'localhost'))
            p = server.ctl('user', 'add', 'new@localhost', '--password-stdin', text='secret\n')
            self.assertNotEqual(p.returncode, 0)
            self.assertIn('not-allowed', p.stderr)
            self.configure('names', accounts='corp-juliet:changed')
            server.ctl_ok('reload')
            self.login(f'{name}@localhost', password='changed', mechanism='PLAIN')
        self.login()                                   # the store answers again

    def roster(self, client):
        answer = client.request(f"<iq type='get' id='{{id}}'><query xmlns='{ROSTER}'/></iq>")
        return [(el.get('jid'), el.get('subscription'), text_of(el, 'group', ROSTER))
                for el in answer.find(q(ROSTER, 'query'))]

    def test_team(self):
        a, b, c = self.user(), self.user(), self.user()
        with self.enabled('team', members=f'{a}, {b}'):
            one, three = self.login(a), self.login(c)
            self.assertEqual(self.roster(one), [(b, 'both', 'Team')])
            self.assertEqual(self.roster(three), [(a, 'both', 'Team'), (b, 'both', 'Team')])
            for item in (f"<item jid='{c}' name='new'/>", f"<item jid='{b}' subscription='remove'/>"):
                answer = one.request(f"<iq type='set' id='{{id}}'><query xmlns='{ROSTER}'>{item}"
                                     '</query></iq>')
                self.assertEqual(stanza_error(answer), ('cancel', 'not-allowed'))
            one.send(f"<presence type='subscribe' to='{c}'/>")
            one.silent()
            three.silent()
            self.configure('team', members=b)
            self.server.ctl_ok('reload')
            self.assertEqual(self.roster(one), [(b, 'both', 'Team')])
            self.assertEqual(self.roster(self.login(b)), [])
        self.assertEqual(self.roster(self.login(c)), [])

    def test_dice_and_loaded(self):
        lucky, banned = self.user(), self.user()
        with self.enabled('dice'):
            a, b, c = self.login(lucky), self.login(banned), self.login()

            def roll(client):
                answer = self.ask_host(client, f"<dice xmlns='{DICE}'/>")
                if answer.get('type') == 'error':
                    return stanza_error(answer)
                return int(answer.find(q(DICE, 'dice')).get('eyes'))

            self.assertLessEqual({roll(a) for _ in range(50)}, set(range(1, 7)))
            with self.enabled('loaded', lucky=lucky, banned=banned):
                self.assertEqual({roll(a) for _ in range(20)}, {6})
                self.assertEqual(roll(b), ('cancel', 'not-allowed'))
                self.assertGreater(len({roll(c) for _ in range(100)}), 1)
            self.assertGreater(len({roll(a) for _ in range(100)}), 1)
            self.assertIn(roll(b), range(1, 7))

    def tally(self, client, mine='mine'):
        el = self.ask_host(client, f"<tally xmlns='{TALLY}'/>").find(q(TALLY, 'tally'))
        return int(el.get('total')), int(el.get(mine))

    def test_tally_over_reloads(self):
        with self.enabled('tally'):
            jid = self.user()
            a, b = self.login(jid), self.login(jid)
            for text in '123':
                a.send(message(b.jid, text))
            b.send(message(a.jid, 'x'))
            for _ in range(3):
                b.stanza('message')
            a.stanza('message')
            self.assertEqual((self.tally(a), self.tally(b)), ((4, 3), (4, 1)))
            self.new_code('tally', ('"mine"', '"own"'))
            self.assertEqual((self.tally(a, 'own'), self.tally(b, 'own')), ((4, 3), (4, 1)))
            self.new_code('tally', ('tally, 1, NULL', 'tally, 2, NULL'))
            self.assertEqual((self.tally(a), self.tally(b)), ((4, 0), (4, 0)))

    def visits(self, number):
        """Logins are counted a moment after they are answered."""
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            p = self.server.ctl('--json', 'visits', 'localhost')
            if p.returncode == 0 and f'"count": {number},' in p.stdout:
                return True
        raise AssertionError(f'{number} visits were expected: {p.stdout}{p.stderr}')

    def test_visits(self):
        with self.enabled('visits') as server:
            self.assertEqual(server.ctl_ok('visits', 'localhost').strip(), '')
            for number in (1, 2, 3):
                self.login().close()
                self.visits(number)
            server.restart()
            clients = [Client(server).authenticated(self.user()) for _ in range(40)]
            for c in clients:                          # all at once, on every loop
                c.send(BIND.replace('{id}', 'b'))
            for c in clients:
                self.addCleanup(c.abort)
                c.stanza('iq', id='b', type='result')
            self.visits(43)

    def test_say(self):
        with self.enabled('say') as server:
            jid = self.user()
            self.assertIn('is not online', server.ctl('say', 'to', jid, 'Hi').stderr)
            a, b = self.login(jid, 'a'), self.login(jid, 'b')
            told = server.ctl_json('say', 'to', jid, 'Lunch <now>')
            self.assertEqual([row['session'] for row in told], [a.jid, b.jid])
            self.assertEqual([self.headline(c) for c in (a, b)], ['Lunch <now>'] * 2)
            server.ctl_ok('say', 'to', self.login().jid, 'Hi')
            self.assertIn('3', server.ctl_ok('say', 'count', 'localhost'))
            self.assertIn('say to jid text', server.ctl_ok('help'))
        self.assertNotEqual(self.server.ctl('say', 'count', 'localhost').returncode, 0)

    def test_clock_over_reloads(self):
        jid = self.user()
        with self.enabled('clock', jids=jid, interval='100ms'):
            a, other = self.login(jid), self.login()
            a.send('<presence/>')                      # else nobody is there to be told

            def tick():
                el = a.stanza('message', from_='localhost', type='headline')
                return int(el.find(q('urn:example:clock', 'tick')).get('number'))

            while a.element().tag != q(CLIENT, 'presence'):
                pass                                   # mod_presence tells it to itself as well
            last = tick()
            for interval in ('110ms', '120ms'):
                for _ in range(3):
                    now = tick()
                    self.assertEqual(now, last + 1)
                    last = now
                self.configure('clock', jids=jid, interval=interval)
                self.server.ctl_ok('reload')
            other.silent()
        a.sync()
        time_out = time.monotonic() + 0.3              # three intervals
        self.assertFalse(a.fill(time_out), 'it still ticks')


if __name__ == '__main__':
    tap.main()
