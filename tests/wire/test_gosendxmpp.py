"""tests/wire/test_gosendxmpp.py: go-sendxmpp, unchanged, from Debian: sends by STARTTLS and direct TLS,
listens, and finds what came while nobody listened, also over a restart of the server."""
import os
import select
import subprocess
import unittest

import tap
from server import HOST, TIMEOUT, TMP, Server
from xmpp import CLIENT, Client, q

PROGRAM = 'go-sendxmpp'


class GoSendXmpp(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(modules=('roster', 'presence', 'offline', 'disco', 'ping')).start()
        for name in ('sender', 'reader'):
            cls.server.add_user(f'{name}@{HOST}')

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def command(self, user, *words, password='secret'):
        return [PROGRAM, '-u', f'{user}@{HOST}', '-p', password, '-j',
                f'127.0.0.1:{self.server.port}', '-n', *words]

    def environment(self):
        return {**os.environ, 'HOME': TMP, 'XDG_CONFIG_HOME': TMP}

    def send(self, text, *words, to=f'reader@{HOST}', **options):
        return subprocess.run(self.command('sender', *words, to, **options), input=text, text=True,
                              capture_output=True, timeout=TIMEOUT, check=False,
                              env=self.environment())

    def reader(self):
        c = Client(self.server).login(f'reader@{HOST}')
        self.addCleanup(c.abort)
        c.send('<presence/>')
        return c

    def message(self, c):
        while True:
            el = c.element()
            if el.tag == q(CLIENT, 'message'):
                return el

    def test_send_by_starttls(self):
        c = self.reader()
        p = self.send('by STARTTLS \u00fc\n')
        self.assertEqual(p.returncode, 0, p.stderr)
        el = self.message(c)
        self.assertEqual(el.findtext(q(CLIENT, 'body')).strip(), 'by STARTTLS \u00fc')
        self.assertTrue(el.get('from').startswith(f'sender@{HOST}/'))

    def test_send_by_direct_tls(self):
        c = self.reader()
        p = self.send('by direct TLS\n', '-t')
        self.assertEqual(p.returncode, 0, p.stderr)
        self.assertEqual(self.message(c).findtext(q(CLIENT, 'body')).strip(), 'by direct TLS')

    def test_wrong_password(self):
        p = self.send('never\n', password='wrong')
        self.assertNotEqual(p.returncode, 0)

    def test_listen(self):
        listener = subprocess.Popen(self.command('reader', '-l'), stdout=subprocess.PIPE,
                                    stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                    env=self.environment())
        self.addCleanup(listener.communicate)
        self.addCleanup(listener.kill)
        c = Client(self.server).login(f'sender@{HOST}')
        self.addCleanup(c.abort)
        self.server.wait_log(rf'c2s\.login: .*user=reader@{HOST}')
        c.send(f"<message to='reader@{HOST}' type='chat'><body>to the listener</body></message>")
        ready = select.select([listener.stdout], [], [], TIMEOUT)[0]
        self.assertTrue(ready, 'the listener prints nothing')
        line = listener.stdout.readline()
        self.assertIn('to the listener', line)
        self.assertIn(f'sender@{HOST}', line)

    def test_stored_over_a_restart(self):
        for i in range(3):
            p = self.send(f'stored {i}\n')
            self.assertEqual(p.returncode, 0, p.stderr)
        self.server.restart()
        c = self.reader()
        bodies = [self.message(c).findtext(q(CLIENT, 'body')).strip() for _ in range(3)]
        self.assertEqual(bodies, ['stored 0', 'stored 1', 'stored 2'])


if __name__ == '__main__':
    tap.main()
