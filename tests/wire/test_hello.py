"""tests/wire/test_hello.py: the example module: built outside of the tree from the installed headers with
pkg-config, loaded, asked, and replaced under a session that stays."""
import os
import shutil
import subprocess
import unittest

import tap
from server import BUILD, SRC, TIMEOUT, TMP, Server
from xmpp import CLIENT, Client, q, show, text_of

EXAMPLE = f'{SRC}/docs/examples/mod_hello'
HELLO = 'urn:example:hello'


def run(*argv, **options):
    p = subprocess.run(argv, capture_output=True, text=True, timeout=6 * TIMEOUT, check=False,
                       **options)
    assert p.returncode == 0, f'{argv}: status {p.returncode}\n{p.stdout}{p.stderr}'
    return p.stdout + p.stderr


class Hello(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.prefix, cls.dir = f'{TMP}/hello-prefix', f'{TMP}/mod_hello'
        run('make', '-s', '-C', SRC, f'BUILD={BUILD}', f'PREFIX={cls.prefix}', 'DESTDIR=',
            f'SYSCONF={cls.prefix}/etc', 'install-files')
        shutil.copytree(EXAMPLE, cls.dir)
        cls.build()

    @classmethod
    def build(cls, *more):
        """What make says; every compiler warning counts as an error."""
        env = {k: v for k, v in os.environ.items()
               if k not in ('MAKEFLAGS', 'MFLAGS', 'CFLAGS', 'CPPFLAGS', 'LDFLAGS', 'CC', 'SAN')}
        env['PKG_CONFIG_PATH'] = f'{cls.prefix}/lib/pkgconfig'
        return run('make', '-B', '-C', cls.dir,
                   ' '.join(('CFLAGS=-Wall', '-Wextra', '-Werror', *more)), env=env)

    def setUp(self):
        self.server = Server(modules=['hello'], module_path=self.dir).start()
        self.addCleanup(self.server.stop)
        self.server.add_user('juliet@localhost')

    def login(self, resource):
        c = Client(self.server).login('juliet@localhost', resource=resource)
        self.addCleanup(c.abort)
        return c

    def greeted(self, client, text):
        el = client.element(q(CLIENT, 'message'))
        self.assertEqual((el.get('from'), el.get('to'), text_of(el, 'body')),
                         ('localhost', client.jid, text), show(el))

    def count(self, client):
        answer = client.request(f"<iq type='get' id='{{id}}' to='localhost'>"
                                f"<hello xmlns='{HELLO}'/></iq>")
        self.assertEqual(answer.get('type'), 'result', show(answer))
        return int(answer.find(q(HELLO, 'hello')).get('greeted'))

    def test_it_is_small(self):
        with open(f'{EXAMPLE}/mod_hello.c', encoding='utf-8') as f:
            lines = f.read().split('\n')[:-1]
        self.assertLessEqual(len(lines), 25)
        self.assertLessEqual(max(map(len, lines)), 100)

    def test_it_is_built_with_any_compiler(self):
        for compiler in filter(shutil.which, ('gcc', 'clang')):
            with self.subTest(compiler=compiler):
                self.assertIn(compiler, self.build_with(compiler))

    def build_with(self, compiler):
        env = {'PATH': os.environ['PATH'], 'PKG_CONFIG_PATH': f'{self.prefix}/lib/pkgconfig'}
        folder = f'{TMP}/mod_hello_{compiler}'
        shutil.copytree(EXAMPLE, folder)
        return run('make', '-B', '-C', folder, f'CC={compiler}', 'CFLAGS=-Wall -Wextra -Werror',
                   env=env)

    def test_new_sessions_are_greeted_and_counted(self):
        a = self.login('a')
        self.greeted(a, 'Hi!')
        self.assertEqual(self.count(a), 1)
        b = self.login('b')
        self.greeted(b, 'Hi!')
        self.assertEqual(self.count(a), 2)
        a.silent()

    def test_a_reload_changes_the_text_and_keeps_the_count(self):
        a = self.login('a')
        self.greeted(a, 'Hi!')
        self.server.set('mod_hello', text='Good morning, <dear>.')
        self.assertTrue(self.server.reload())
        self.assertEqual(self.count(a), 1)
        self.greeted(self.login('b'), 'Good morning, <dear>.')
        self.assertEqual(self.count(a), 2)

    def test_new_code_takes_the_count_over(self):
        a = self.login('a')
        self.greeted(a, 'Hi!')
        path = f'{self.dir}/mod_hello.c'
        with open(path, encoding='utf-8') as f:
            text = f.read()
        self.addCleanup(self.build)
        self.addCleanup(self.write, path, text)
        self.write(path, text.replace('"greeted"', '"sessions"'))
        self.build()
        self.assertTrue(self.server.reload())
        answer = a.request(f"<iq type='get' id='{{id}}' to='localhost'><hello xmlns='{HELLO}'/></iq>")
        self.assertEqual(answer.find(q(HELLO, 'hello')).get('sessions'), '1', show(answer))
        a.silent()

    @staticmethod
    def write(path, text):
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)

    def test_taken_off_it_answers_no_more(self):
        a = self.login('a')
        self.greeted(a, 'Hi!')
        self.server.drop('mod_hello')
        self.assertTrue(self.server.reload())
        answer = a.request(f"<iq type='get' id='{{id}}' to='localhost'><hello xmlns='{HELLO}'/></iq>")
        self.assertEqual(answer.get('type'), 'error', show(answer))
        self.login('b').silent()

    def test_a_bad_option_changes_nothing(self):
        a = self.login('a')
        self.greeted(a, 'Hi!')
        self.server.set('mod_hello', txt='typo')
        self.assertFalse(self.server.reload())
        self.assertTrue(self.server.has_logged(r'txt'))
        self.assertEqual(self.count(a), 1)


if __name__ == '__main__':
    tap.main()
