"""tests/wire/test_limits.py: one peer cannot exhaust the server (reliability 2, 6): connections of an
address, connections that do not log in, reading rate, clients that do not read. What is held back
is never lost or reordered.  test-timeout: 400"""
import socket
import threading
import time
import unittest

import tap
from server import SANITIZED, TIMEOUT, Server
from xmpp import CLIENT, Client, Ended, q, stanza_error

MIB = 1 << 20


class Base(unittest.TestCase):
    options = {}

    @classmethod
    def setUpClass(cls):
        cls.server = Server(**cls.options).start()
        for name in ('juliet', 'romeo', 'nurse'):
            cls.server.add_user(f'{name}@localhost')

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def client(self, **options):
        c = Client(self.server, **options)
        self.addCleanup(c.abort)
        return c

    def is_refused(self, c):
        """Closed without a word."""
        try:
            c.send(c.header())
            kind, _ = c.next()
        except ConnectionError:
            return True
        return kind == 'eof'

    def open_until_refused(self, most):
        """How many connections with a stream there are when the next one is refused."""
        for n in range(most):
            c = self.client()
            if self.is_refused(c):
                return n
        return most

    def comes_in_again(self):
        """A place that was given back is found by trying: nothing tells when."""
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            c = self.client()
            if not self.is_refused(c):
                return True
            c.abort()
        return False


class Unauthenticated(Base):
    options = {'limits': {'unauthenticated_per_ip': 5}}

    def test_unauthenticated_per_ip(self):
        self.assertEqual(self.open_until_refused(20), 5)
        self.doCleanups()
        self.assertTrue(self.comes_in_again())

    def test_logged_in_connections_do_not_count(self):
        for _ in range(12):
            c = self.client()
            end = time.monotonic() + TIMEOUT
            while True:
                try:
                    c.login('juliet@localhost')
                    break
                except (Ended, ConnectionError):       # places of the case before
                    self.assertLess(time.monotonic(), end)
                    c = self.client()


class PerAddress(Base):
    options = {'limits': {'connections_per_ip': 8}}

    def test_connections_per_ip(self):
        streams = [self.client().login('juliet@localhost') for _ in range(8)]
        self.assertTrue(self.is_refused(self.client()))
        for c in streams:
            c.silent()
        streams[0].close()
        self.assertTrue(self.comes_in_again())


class PerListener(Base):
    options = {'listen': {'max_per_ip': 3}}

    def test_max_per_ip_of_a_listener(self):
        self.assertEqual(self.open_until_refused(10), 3)


class Rate(Base):
    options = {'limits': {'accept_rate_per_ip': 2}}

    def test_new_connections_per_second(self):
        """A burst of three seconds' worth, then no faster than the rate."""
        self.assertLessEqual(self.open_until_refused(50), 6 + 4)
        self.server.wait_log(r'listen\.refused')
        self.assertTrue(self.comes_in_again())


class AllUnauthenticated(Base):
    options = {'limits': {'unauthenticated_percent': 5}, 'files': 400}

    def test_a_share_of_all_file_descriptors(self):
        """20 of 400; who logged in before goes on."""
        c = self.client().login('juliet@localhost')
        streams = [self.client() for _ in range(30)]
        alive = 0
        for s in streams:
            if not self.is_refused(s):
                alive += 1
        self.assertLessEqual(alive, 20)
        self.assertGreaterEqual(alive, 15)
        c.silent()


class ReadRate(Base):
    options = {'limits': {'rate_c2s': '20K', 'burst_c2s': '20K'}}

    def test_bytes_per_second(self):
        """20 KB at once, then 20 KB per second: 80 KB take about three seconds; nothing is lost."""
        c = self.client().login('juliet@localhost', resource='r')
        n, body = 80, 'x' * 950
        began = time.monotonic()
        for i in range(n):
            c.send(f"<message to='juliet@localhost/r' id='{i}'><body>{body}</body></message>")
        for i in range(n):
            c.stanza('message', id=str(i))
        self.assertGreater(time.monotonic() - began, 2)

    def test_others_are_not_slowed_down(self):
        loud = self.client().login('juliet@localhost', resource='loud')
        quiet = self.client().login('romeo@localhost', resource='q')
        loud.send("<message to='juliet@localhost/loud'><body>" + 'x' * 60000 + '</body></message>')
        began = time.monotonic()
        for _ in range(20):
            quiet.silent()
        took = time.monotonic() - began
        loud.stanza('message')
        self.assertLess(took, time.monotonic() - began)


class Flood(threading.Thread):
    """Sends numbered messages as fast as the server takes them."""

    def __init__(self, client, make, n):
        super().__init__(daemon=True)
        self.client, self.make, self.n = client, make, n
        self.sent, self.error = 0, None
        client.sock.settimeout(None)

    def run(self):
        try:
            while self.sent < self.n:
                self.client.send(self.make(self.sent))
                self.sent += 1
        except (OSError, AssertionError) as e:
            self.error = e

    def wait_held_back(self):
        """Until nothing has gone out for two seconds: there is no event for "nothing happens"."""
        last, since = -1, time.monotonic()
        while time.monotonic() - since < 2:
            if self.sent != last:
                last, since = self.sent, time.monotonic()
            if not self.is_alive():
                return
            time.sleep(0.05)


class SlowReader(Base):
    options = {'limits': {'output_high': '256K', 'output_hard': '4M'}}
    n = 4000
    body = 'x' * 4000

    def message(self, to):
        return lambda i: (f"<message to='{to}' id='{i}' type='chat'><body>{self.body}</body>"
                          '</message>')

    def read_on(self, client):
        """With a window that does not make the test itself slow."""
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * MIB)

    def check_memory(self, before):
        if not SANITIZED:
            self.assertLess(self.server.rss() - before, 8 * MIB)

    def test_flood_to_a_client_that_does_not_read(self):
        romeo = self.client(rcvbuf=4096).login('romeo@localhost', resource='r')
        juliet = self.client().login('juliet@localhost', resource='j')
        nurse = self.client().login('nurse@localhost')
        before = self.server.rss()
        flood = Flood(juliet, self.message('romeo@localhost/r'), self.n)
        flood.start()
        flood.wait_held_back()
        self.assertTrue(flood.is_alive(), f'not held back: {flood.sent} sent, {flood.error}')
        self.check_memory(before)
        nurse.silent()                                 # nobody else notices
        nurse.send("<message to='juliet@localhost/j' id='n'/>")
        juliet.stanza('message', id='n')
        self.read_on(romeo)
        for i in range(self.n):
            romeo.stanza('message', id=str(i), from_='juliet@localhost/j')
        flood.join(TIMEOUT)
        self.assertEqual((flood.sent, flood.error), (self.n, None))
        juliet.silent()

    def test_requests_of_a_client_that_does_not_read_the_answers(self):
        juliet = self.client(rcvbuf=4096).login('juliet@localhost', resource='j')
        before = self.server.rss()
        flood = Flood(juliet, lambda i: f"<iq type='get' id='{i}' to='localhost'>"
                      f"<q xmlns='urn:example:q'>{self.body}</q></iq>", self.n)
        flood.start()
        flood.wait_held_back()
        self.assertTrue(flood.is_alive(), f'not held back: {flood.sent} sent, {flood.error}')
        self.check_memory(before)
        self.read_on(juliet)
        for i in range(self.n):
            self.assertEqual(stanza_error(juliet.stanza('iq', id=str(i)))[1], 'service-unavailable')
        flood.join(TIMEOUT)
        self.assertEqual((flood.sent, flood.error), (self.n, None))

    def test_flood_to_oneself(self):
        juliet = self.client(rcvbuf=4096).login('juliet@localhost', resource='j')
        before = self.server.rss()
        flood = Flood(juliet, self.message('juliet@localhost/j'), self.n)
        flood.start()
        flood.wait_held_back()
        self.check_memory(before)
        self.read_on(juliet)
        for i in range(self.n):
            juliet.stanza('message', id=str(i))
        flood.join(TIMEOUT)
        self.assertEqual((flood.sent, flood.error), (self.n, None))


class Stalled(Base):
    options = {'limits': {'output_high': '64K', 'output_hard': '1M', 'output_timeout': '1s'}}

    def test_client_that_never_reads_is_closed(self):
        """Who floods it goes on afterwards, and learns what could not be delivered."""
        romeo = self.client(rcvbuf=4096).login('romeo@localhost', resource='r')
        juliet = self.client().login('juliet@localhost', resource='j')
        n = 4000
        body = 'x' * 4000
        flood = Flood(juliet, lambda i: f"<message to='romeo@localhost/r' id='{i}' type='chat'>"
                      f'<body>{body}</body></message>', n)
        flood.start()
        errors = []
        while not errors or int(errors[-1]) < n - 1:
            el = juliet.stanza('message', type='error', from_='romeo@localhost/r')
            self.assertEqual(stanza_error(el)[1], 'service-unavailable')
            errors.append(el.get('id'))
        flood.join(TIMEOUT)
        self.assertEqual((flood.sent, flood.error), (n, None))
        self.assertEqual(len(set(errors)), len(errors))
        self.assertEqual(errors, sorted(errors, key=int))
        self.assertEqual(len(errors), n - int(errors[0]), 'a gap: lost and not told')
        rows = [r['jid'] for r in self.server.ctl_json('sessions')]
        self.assertNotIn('romeo@localhost/r', rows)
        got = []                                       # what had reached the socket
        try:
            while True:
                got.append(romeo.element(q(CLIENT, 'message')).get('id'))
        except (Ended, ConnectionError):
            pass
        self.assertEqual(got, [str(i) for i in range(len(got))])
        self.assertLessEqual(int(errors[0]), len(got), 'neither delivered nor refused')


if __name__ == '__main__':
    tap.main()
