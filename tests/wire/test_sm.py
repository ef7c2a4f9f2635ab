"""tests/wire/test_sm.py: XEP-0198 over real streams: every example, and restarts, with SIGTERM and kill -9,
in the middle of things."""
import random
import socket
import unittest

import tap
import sasl
from server import Server
from xmpp import CLIENT, STANZAS, STREAM, Client, Ended, name_of, q, show

SM = 'urn:xmpp:sm:3'
SASL2, BIND2 = 'urn:xmpp:sasl:2', 'urn:xmpp:bind:0'
R = f"<r xmlns='{SM}'/>"
MODULES = ['roster', 'presence', 'offline', 'sessiondb', 'carboncopy', 'stream_management']


class SM_Client(Client):
    """Counts what it gets, and acknowledges when asked (unless silent)."""

    def __init__(self, server, **how):
        super().__init__(server, **how)
        self.got = 0
        self.quiet = False
        self.acks = []

    def enable(self, attributes="resume='true'"):
        self.send(f"<enable xmlns='{SM}' {attributes}/>")
        self.enabled = Client.element(self, q(SM, 'enabled'))
        self.got = 0
        self.id = self.enabled.get('id')
        return self

    def step(self, timeout=None):
        """The next element, also of XEP-0198; <r/> is answered, stanzas are counted."""
        el = super().element(None, timeout)
        if el.tag == q(SM, 'r') and not self.quiet:
            self.send(f"<a xmlns='{SM}' h='{self.got}'/>")
        if el.tag == q(SM, 'a'):
            self.acks.append(int(el.get('h')))
        if el.tag.startswith(q(CLIENT, '')):
            self.got += 1
        return el

    def element(self, tag=None, timeout=None):
        while True:
            el = self.step(timeout)
            if el.tag == q(SM, 'r') or (el.tag == q(SM, 'a') and tag != q(SM, 'a')):
                continue
            assert tag is None or el.tag == tag, f'{tag} was expected: {show(el)}'
            return el

    def acknowledged(self, h):
        """Asks, and waits until the server says h."""
        self.send(R)
        while True:
            n = int(self.element(q(SM, 'a')).get('h'))
            assert n <= h, (n, h)
            if n == h:
                return

    def resume(self, jid, old, h=None):
        self.authenticated(jid)
        self.got = old.got if h is None else h
        self.send(f"<resume xmlns='{SM}' h='{self.got}' previd='{old.id}'/>")
        self.id = old.id
        answer = Client.element(self)
        return answer

    def body(self, text):
        el = self.stanza('message')
        assert el.findtext(q(CLIENT, 'body')) == text, (text, show(el))
        return el


def message(client, to, text):
    client.send(f"<message type='chat' to='{to}' id='{text}'><body>{text}</body></message>")


class Examples(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(modules=MODULES)
        cls.server.start()
        for user in ('a', 'b', 'c'):
            cls.server.add_user(f'{user}@localhost', 'secret')

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def client(self):
        c = SM_Client(self.server)
        self.addCleanup(c.abort)
        return c

    def test_feature_only_after_login(self):
        c = self.client()
        c.secure()
        self.assertIsNone(c.features.find(q(SM, 'sm')))
        c.authenticate('a', 'secret')
        self.assertIsNotNone(c.open().find(q(SM, 'sm')))

    def test_refused_answers_count(self):
        a = self.client().login('a@localhost').enable()
        a.send("<iq type='get' id='1'/>")                       # refused by the stream itself
        a.stanza('iq', type='error', id='1')
        a.send("<message to='@'/>")
        a.stanza('message', type='error')
        a.send("<iq type='set' id='s'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>")
        a.stanza('iq', type='result', id='s')
        self.assertEqual(a.got, 3)
        a.acknowledged(3)
        a.send(f"<a xmlns='{SM}' h='3'/>")
        a.acknowledged(3)

    def test_too_high(self):
        a = self.client().login('a@localhost').enable()
        a.send(f"<a xmlns='{SM}' h='10'/>")
        self.assertEqual(a.ended(), 'undefined-condition')
        detail = a.error_element.find(q(SM, 'handled-count-too-high'))
        self.assertEqual((detail.get('h'), detail.get('send-count')), ('10', '0'))

    def test_resumes_in_the_middle_of_a_stanza(self):
        """The old stream's parser is of no importance."""
        a = self.client().login('a@localhost', resource='x').enable()
        b = self.client().login('b@localhost', resource='y')
        a.send("<message type='chat' to='b@localhost/y' id='h'><body>half a stan")
        a.abort()
        new = self.client()
        answer = new.resume('a@localhost', a)
        self.assertEqual((name_of(answer), answer.get('h'), answer.get('previd')),
                         ('resumed', '0', a.id))
        message(new, 'b@localhost/y', 'whole')
        self.assertEqual(b.stanza('message').get('id'), 'whole')
        new.acknowledged(1)

    def test_two_race(self):
        a = self.client().login('a@localhost', resource='race').enable()
        first, second = self.client().authenticated('a@localhost'), \
            self.client().authenticated('a@localhost')
        resume = f"<resume xmlns='{SM}' h='0' previd='{a.id}'/>"
        for c in (first, second):
            c.send(resume)
        self.assertEqual(a.ended(), 'conflict')
        kinds = set()
        for c in (first, second):
            el = Client.element(c)
            if name_of(el) == 'failed':                         # while the other was taking over
                self.assertIsNotNone(el.find(q(STANZAS, 'resource-constraint')))
                c.send(resume)
                el = Client.element(c)
            self.assertEqual(name_of(el), 'resumed')
        alive = 0
        for c in (first, second):
            try:
                c.sync()
                alive += 1
            except Ended as e:
                kinds.add(e.condition)
        self.assertEqual((alive, kinds), (1, {'conflict'}))

    def test_clean_end(self):
        a = self.client().login('a@localhost').enable()
        a.close()
        answer = self.client().resume('a@localhost', a)
        self.assertEqual((name_of(answer), answer.get('h')), ('failed', '0'))

    def test_stream_error_keeps_the_session(self):
        a = self.client().login('a@localhost').enable()
        a.send('<message></iq>')
        self.assertEqual(a.ended(), 'not-well-formed')
        answer = self.client().resume('a@localhost', a)
        self.assertEqual(name_of(answer), 'resumed')

    def test_foreign_id(self):
        a = self.client().login('a@localhost').enable()
        b = self.client()
        answer = b.resume('b@localhost', a)
        self.assertEqual((name_of(answer), answer.get('h')), ('failed', None))
        self.assertIsNotNone(answer.find(q(STANZAS, 'item-not-found')))
        b.bind('x')                                             # and goes on from there
        a.acknowledged(0)


class Inline(unittest.TestCase):
    """XEP-0198, 9: within a SASL2 login."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server(modules=MODULES)
        cls.server.start()
        for user in ('a', 'b'):
            cls.server.add_user(f'{user}@localhost', 'secret')

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def login(self, user, inner):
        c = SM_Client(self.server)
        self.addCleanup(c.abort)
        c.secure()
        c.send(f"<authenticate xmlns='{SASL2}' mechanism='PLAIN'><initial-response>"
               f"{sasl.b64(sasl.plain(user, 'secret'))}</initial-response>{inner}</authenticate>")
        return c, Client.element(c, q(SASL2, 'success'))

    def bind(self, user, more=''):
        c, success = self.login(user, f"{more}<bind xmlns='{BIND2}'><enable xmlns='{SM}' "
                                      "resume='true'/></bind>")
        c.element(q(STREAM, 'features'))
        enabled = success.find(f"{q(BIND2, 'bound')}/{q(SM, 'enabled')}")
        c.id, c.got = enabled.get('id'), 0
        c.jid = success.findtext(q(SASL2, 'authorization-identifier'))
        return c, success

    def test_features(self):                                    # example 27
        c = SM_Client(self.server)
        self.addCleanup(c.abort)
        inline = c.secure().find(f"{q(SASL2, 'authentication')}/{q(SASL2, 'inline')}")
        self.assertIsNotNone(inline.find(q(SM, 'sm')))
        self.assertIn(SM, [f.get('var') for f in inline.iter(q(BIND2, 'feature'))])

    def test_enable_and_resume(self):
        a, _ = self.bind('a')
        a.send('<presence/>')
        a.stanza('presence')
        b, _ = self.bind('b')
        a.quiet = True
        message(b, 'a@localhost', 'one')
        a.body('one')
        a.got = 1                                               # says that it has not got it
        c, success = self.login('a', f"<resume xmlns='{SM}' h='1' previd='{a.id}'/>"
                                     f"<bind xmlns='{BIND2}'/>")
        self.assertEqual(a.ended(), 'conflict')
        resumed = success.find(q(SM, 'resumed'))
        self.assertEqual((resumed.get('h'), resumed.get('previd')), ('1', a.id))
        self.assertIsNone(success.find(q(BIND2, 'bound')))
        self.assertEqual(success.findtext(q(SASL2, 'authorization-identifier')), a.jid)
        c.got = 1
        c.body('one')                                           # and no features before it
        c.sync()
        message(c, b.jid, 'two')
        b.body('two')
        c.acknowledged(3)
        b.acknowledged(1)

    def test_cannot_resume(self):                               # example 30
        a, success = self.bind('a', f"<resume xmlns='{SM}' h='1' previd='x'/>")
        self.assertIsNotNone(success.find(f"{q(SM, 'failed')}/{q(STANZAS, 'item-not-found')}"))
        a.sync()
        a.acknowledged(1)


class Goodbye(unittest.TestCase):
    """The connection breaks while </stream:stream> waits for what was sent before it."""

    def test_it_is_one(self):
        server = Server(modules=MODULES + ['csi'])
        server.start()
        self.addCleanup(server.stop)
        server.add_user('a@localhost', 'secret')
        watcher, busy, a = (SM_Client(server) for _ in range(3))
        for c, resource in ((watcher, 'w'), (busy, 'b'), (a, 'x')):
            self.addCleanup(c.abort)
            c.login('a@localhost', resource=resource).enable()
            c.send('<presence/>')
            c.sync()
        busy.send("<inactive xmlns='urn:xmpp:csi:0'/>")
        busy.sync()
        a.send("<message to='a@localhost/b' type='chat'><received xmlns='urn:xmpp:receipts' id='1'/></message>")
        a.sync()                                                # kept back: not handled for a while
        a.send('</stream:stream>')
        a.abort()
        came = []
        for _ in range(20):                                     # writes to a connection that is gone
            watcher.send("<presence to='a@localhost/x'/>")
            came += watcher.sync()
        gone = [el.get('from') for el in came if el.get('type') == 'unavailable']
        self.assertEqual(gone, ['a@localhost/x'])


    def test_nothing_follows_it(self):
        """What was kept back for an inactive client comes before the stream error, not behind the stream."""
        server = Server(modules=MODULES + ['csi'])
        server.start()
        self.addCleanup(server.stop)
        server.add_user('a@localhost', 'secret')
        other, a = SM_Client(server), SM_Client(server)
        for c, resource in ((other, 'w'), (a, 'x')):
            self.addCleanup(c.abort)
            c.login('a@localhost', resource=resource).enable()
            c.send('<presence/>')
            c.sync()
        a.send("<inactive xmlns='urn:xmpp:csi:0'/>")
        a.sync()
        other.send('<presence><show>away</show></presence>')
        other.sync()
        a.quiet = True
        a.send('<bad></worse>')
        with self.assertRaises(Ended):
            while True:
                a.step()
        while not a.eof:                                        # nothing that is no XML any more
            a.next()
        self.assertEqual(a.received[-16:], b'</stream:stream>')


class Late(unittest.TestCase):
    def test_enables_behind_what_it_does_not_read(self):
        """What never reached the socket waits with the rest: its sender does not wait for the session's end."""
        server = Server(modules=MODULES, limits={'output_high': '16M', 'output_hard': '64M'})
        server.start()
        self.addCleanup(server.stop)
        for user in ('a', 'b'):
            server.add_user(f'{user}@localhost', 'secret')
        a, b = SM_Client(server), SM_Client(server)
        for c in (a, b):
            self.addCleanup(c.abort)
        a.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        a.login('a@localhost', resource='x')
        a.send('<presence/>')
        a.sync()
        b.login('b@localhost', resource='y').enable()
        for i in range(100):
            b.send(f"<message type='chat' to='a@localhost/x' id='{i}'><body>{'x' * 100000}</body></message>")
        b.sync()
        a.send(f"<enable xmlns='{SM}' resume='true'/>")
        message(a, 'b@localhost/y', 'enabled')
        b.body('enabled')
        a.abort()
        b.acknowledged(101)


class Restarts(unittest.TestCase):
    def setUp(self):
        self.server = Server(modules=MODULES)
        self.server.start()
        for user in ('a', 'b', 'c'):
            self.server.add_user(f'{user}@localhost', 'secret')
        self.addCleanup(self.server.stop)

    def client(self):
        c = SM_Client(self.server)
        self.addCleanup(c.abort)
        return c

    def kill(self):
        self.server.kill()
        self.server.start()

    def restart(self):
        self.server.stop()
        self.server.start()

    def resumes(self, again, told):
        a = self.client().login('a@localhost', resource='x').enable()
        b = self.client().login('b@localhost', resource='y').enable()
        for c in (a, b):
            c.send('<presence/>')
            c.sync()
        a.quiet = True
        message(a, 'b@localhost/y', 'to b')
        b.body('to b')
        a.acknowledged(3)
        for i in range(10):
            message(b, 'a@localhost', f'm{i}')
        a.body('m0')
        a.body('m1')
        b.acknowledged(12)                                      # two others before them
        again()
        if told:
            self.assertEqual(b.ended(), 'system-shutdown')
        c = self.client()
        a.got = 4
        answer = c.resume('a@localhost', a)
        self.assertEqual((name_of(answer), answer.get('h')), ('resumed', '3'), show(answer))
        for i in range(2, 10):
            c.body(f'm{i}')
        c.silent()
        d = self.client()
        answer = d.resume('b@localhost', b)
        self.assertEqual((name_of(answer), answer.get('h')), ('resumed', '12'))
        d.silent()                                              # nobody came or went
        message(d, 'a@localhost', 'again')
        c.body('again')
        d.close()
        e = self.client().login('b@localhost', resource='y')
        e.send('<presence/>')
        e.stanza('presence')
        e.silent()

    def test_kill(self):
        self.resumes(self.kill, False)

    def test_term(self):
        self.resumes(self.restart, True)

    def test_carbons_stay_on(self):
        """What a client has switched on stays on in its session, also when nothing was sent since."""
        a = self.client().login('a@localhost', resource='x').enable()
        a.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
        a.stanza('iq')
        a.send('<presence/>')
        a.sync()
        a.acknowledged(3)
        self.kill()
        c = self.client()
        self.assertEqual(name_of(c.resume('a@localhost', a)), 'resumed')
        other = self.client().login('a@localhost', resource='y')
        message(other, 'b@localhost', 'to b')
        self.assertIn('urn:xmpp:carbons:2', show(c.stanza('message')))

    def test_killed_twice(self):
        a = self.client().login('a@localhost', resource='x').enable()
        a.send('<presence/>')
        a.sync()
        b = self.client().login('b@localhost', resource='y').enable()
        a.quiet = True
        message(b, 'a@localhost', 'one')
        b.acknowledged(1)
        self.kill()
        b2 = self.client()
        self.assertEqual(name_of(b2.resume('b@localhost', b)), 'resumed')
        message(b2, 'a@localhost', 'two')
        b2.acknowledged(2)
        self.kill()
        c = self.client()
        answer = c.resume('a@localhost', a)
        self.assertEqual(name_of(answer), 'resumed')
        c.body('one')
        c.body('two')
        c.silent()

    def came_while_away(self, again):
        """More than was written is with the client; what came after the crash is not."""
        a = self.client().login('a@localhost', resource='x').enable()
        a.send('<presence/>')
        a.sync()
        a.acknowledged(2)
        b = self.client().login('b@localhost', resource='y').enable()
        b.acknowledged(0)
        for i in range(3):
            message(b, 'a@localhost', f'm{i}')
            a.body(f'm{i}')
        self.kill()
        b = self.client().login('b@localhost', resource='z').enable()
        message(b, 'a@localhost', 'one')
        message(b, 'a@localhost', 'two')
        b.acknowledged(2)
        again()
        c = self.client()
        answer = c.resume('a@localhost', a)
        self.assertEqual(name_of(answer), 'resumed')
        c.body('one')
        c.body('two')
        c.silent()

    def test_killed_while_the_client_was_away(self):
        self.came_while_away(self.kill)

    def test_stopped_while_the_client_was_away(self):
        self.came_while_away(self.restart)

    def test_resumes_once_while_the_client_was_away(self):
        self.came_while_away(lambda: None)

    def test_client_has_more_than_was_written(self):
        """What was sent in the last moment is on no disk; the client has it all the same."""
        a = self.client().login('a@localhost', resource='x').enable()
        a.send('<presence/>')
        a.sync()
        a.acknowledged(2)
        b = self.client().login('b@localhost', resource='y')
        a.quiet = True
        message(b, 'a@localhost', 'last')
        a.body('last')
        self.kill()
        c = self.client()
        self.assertEqual(name_of(c.resume('a@localhost', a)), 'resumed')
        c.silent()
        b = self.client().login('b@localhost', resource='y')
        message(b, 'a@localhost', 'next')
        c.body('next')
        c.acknowledged(3)

    def test_killed_while_handing_over(self):
        """The presence that asked for what is stored counts as handled: it is not sent again."""
        count = 120                                             # more than are handed over at once
        b = self.client().login('b@localhost', resource='y').enable()
        for i in range(count):
            message(b, 'a@localhost', f'm{i}')
        b.acknowledged(count)
        a = self.client().login('a@localhost', resource='x').enable()
        a.quiet = True                                          # so only the first of them come
        a.send('<presence/>' + R)
        while a.acks[-1:] != [1]:
            a.step()
        self.kill()
        c = self.client()
        self.assertEqual(name_of(c.resume('a@localhost', a, h=0)), 'resumed')
        bodies = []
        while len(set(bodies)) < count:
            el = c.element()
            if el.tag == q(CLIENT, 'message'):
                bodies.append(el.findtext(q(CLIENT, 'body')))
        self.assertEqual(list(dict.fromkeys(bodies)), [f'm{i}' for i in range(count)])


class Crashes(unittest.TestCase):
    """kill -9 in the middle of traffic, again and again. Both clients keep their side of XEP-0198: what the
    server has not acknowledged is sent again, what a client has got is acknowledged now and then."""

    CYCLES, BURST = 8, 40

    def setUp(self):
        self.server = Server(modules=MODULES)
        self.server.start()
        self.addCleanup(self.server.stop)
        for user in ('a', 'b'):
            self.server.add_user(f'{user}@localhost', 'secret')

    def connected(self, user, old):
        c = SM_Client(self.server)
        self.addCleanup(c.abort)
        if old is None:
            c.login(f'{user}@localhost', resource=user).enable()
            c.h, c.unacked, c.bodies = 0, [], []
            return c
        answer = c.resume(f'{user}@localhost', old)
        self.assertEqual(name_of(answer), 'resumed', show(answer))
        c.h, c.unacked, c.bodies = old.h, old.unacked, old.bodies
        self.count(c, int(answer.get('h')))
        for xml in c.unacked:
            c.send(xml)
        return c

    @staticmethod
    def count(c, h):
        assert c.h <= h <= c.h + len(c.unacked), (c.h, h, len(c.unacked))
        del c.unacked[:h - c.h]
        c.h = h

    def say(self, c, xml):
        c.unacked.append(xml)
        c.send(xml)

    def read(self, c, until):
        """Whatever comes, until that is true; what is acknowledged is noted."""
        while not until():
            try:
                el = c.step()
            except (AssertionError, Ended, ConnectionError):
                return
            finally:
                for h in c.acks:
                    self.count(c, h)
                c.acks.clear()
            if el.tag == q(CLIENT, 'message') and el.get('type') != 'error':
                c.bodies.append(el.findtext(q(CLIENT, 'body')))

    def test_nothing_acknowledged_is_lost(self):
        a = b = None
        sent, rng = 0, random.Random(7)
        for cycle in range(self.CYCLES):
            a, b = self.connected('a', a), self.connected('b', b)
            if cycle == 0:
                self.say(a, '<presence/>')
            a.quiet = cycle % 2 == 0
            for _ in range(self.BURST):
                text = f'{sent:06}' + 'x' * rng.choice((1, 200, 3000))
                self.say(b, f"<message type='chat' to='a@localhost/a' id='{sent}'><body>{text}</body>"
                            '</message>')
                sent += 1
            b.send(R)
            enough = rng.randrange(self.BURST)
            self.read(b, lambda: len(b.unacked) <= enough)
            self.server.kill()
            self.read(a, lambda: False)                         # what was in the socket
            self.read(b, lambda: False)
            self.server.start()
        a, b = self.connected('a', a), self.connected('b', b)
        b.send(R)
        self.read(b, lambda: not b.unacked)
        self.assertEqual(b.unacked, [])
        numbers = lambda: [int(t[:6]) for t in a.bodies]        # noqa: E731
        self.read(a, lambda: numbers()[-1:] == [sent - 1])
        self.assertEqual(sorted(set(numbers())), list(range(sent)))
        first = list(dict.fromkeys(numbers()))
        self.assertEqual(first, sorted(first))                  # in order, leaving out repetitions
        print(f'# {sent} messages, {len(numbers()) - sent} repeated')


if __name__ == '__main__':
    tap.main()
