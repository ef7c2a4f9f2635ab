"""tests/wire/test_strophe.py: libstrophe, unchanged, from Debian, by way of strophe_client.c: STARTTLS,
direct TLS, SCRAM and PLAIN, roster, subscriptions, two resources, chat, messages while offline over
a restart of the server, registration."""
import os
import queue
import re
import subprocess
import threading
import unittest
import xml.etree.ElementTree as ET

import tap
from server import BUILD, HOST, TIMEOUT, Server, certificate
from xmpp import CLIENT, ROSTER, q, show

PROGRAM = os.environ.get('STROPHE_CLIENT') or f'{BUILD}/tests/wire/strophe_client'
MODULES = ('roster', 'presence', 'offline', 'ping', 'register')


class User:
    def __init__(self, server, jid, password='secret', mode='starttls'):
        self.process = subprocess.Popen(
            [PROGRAM, jid, password, str(server.port), mode, certificate(HOST) + '.crt'],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
            encoding='utf-8')
        self.bare = jid.split('/')[0]
        self.lines = queue.Queue()
        self.early = []
        self.ids = 0
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip('\n'))
        self.lines.put(None)

    def line(self):
        line = self.lines.get(timeout=TIMEOUT)
        assert line is not None, f'{self.bare}: the client ended'
        return line

    def start(self, presence=True):
        word, _, rest = self.line().partition(' ')
        assert word == 'connected', f'{word} {rest}'
        self.jid = rest
        if presence:
            self.items()
            self.send('<presence/>')
            self.wait('presence', self.jid)
        return self

    def send(self, xml):
        self.process.stdin.write(xml + '\n')

    def stanza(self):
        line = self.line()
        assert line.startswith('stanza '), line
        text = line.removeprefix('stanza ')
        if ' xmlns=' not in text.split('>')[0]:        # libstrophe leaves the stream's out
            text = re.sub(r'^<(\w+)', rf'<\1 xmlns="{CLIENT}"', text)
        return ET.fromstring(text)

    def wait(self, kind, from_=None, type_=None, id_=None):
        """The first such stanza; others are kept for later."""
        def fits(el):
            return el.tag == q(CLIENT, kind) and (from_ is None or el.get('from') == from_) and \
                el.get('type') == type_ and (id_ is None or el.get('id') == id_)

        for el in self.early:
            if fits(el):
                self.early.remove(el)
                return el
        while True:
            el = self.stanza()
            if fits(el):
                return el
            self.early.append(el)

    def ask(self, xml, type_='result'):
        self.ids += 1
        self.send(xml.replace('{id}', f'i{self.ids}'))
        return self.wait('iq', type_=type_, id_=f'i{self.ids}')

    def items(self):
        answer = self.ask(f'<iq type="get" id="{{id}}"><query xmlns="{ROSTER}"/></iq>')
        return {i.get('jid'): (i.get('subscription'), i.get('name'), sorted(g.text for g in i))
                for i in answer.iter(q(ROSTER, 'item'))}

    def set_item(self, jid, attributes='', groups=''):
        self.ask(f'<iq type="set" id="{{id}}"><query xmlns="{ROSTER}"><item jid="{jid}" '
                 f'{attributes}>{groups}</item></query></iq>')

    def end(self):
        self.process.stdin.close()
        while True:
            line = self.line()
            if line.startswith('disconnected'):
                assert line == 'disconnected 0 -1', line
                break
        assert self.process.wait(TIMEOUT) == 0


class Strophe(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(modules=MODULES).start()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def user(self, name, resource='', **options):
        jid = f'{name}-{self._testMethodName.removeprefix("test_")[:40]}@{HOST}'
        if jid not in getattr(self, 'made', ()):
            self.server.add_user(jid)
            self.made = {jid} | getattr(self, 'made', set())
        u = User(options.pop('server', self.server), f'{jid}/{resource}' if resource else jid,
                 **options)
        self.addCleanup(u.process.kill)
        return u

    def subscribe(self, one, two):
        one.send(f'<presence type="subscribe" to="{two.bare}"/>')
        two.wait('presence', one.bare, 'subscribe')
        two.send(f'<presence type="subscribed" to="{one.bare}"/>')
        one.wait('presence', two.bare, 'subscribed')
        one.wait('presence', two.jid)

    def mechanism(self, u):
        rows = {r['jid']: r for r in self.server.ctl_json('sessions')}
        return rows[u.jid]['mechanism'], rows[u.jid]['tls']

    def test_starttls_with_scram(self):
        u = self.user('s').start()
        mechanism, tls = self.mechanism(u)
        self.assertTrue(mechanism.startswith('SCRAM-SHA-'), mechanism)
        self.assertEqual(tls, 'yes')
        u.end()

    def test_direct_tls(self):
        u = self.user('d', mode='direct').start()
        self.assertEqual(self.mechanism(u)[1], 'yes')
        u.ask(f'<iq type="get" id="{{id}}" to="{HOST}"><ping xmlns="urn:xmpp:ping"/></iq>')
        u.end()

    def test_plain_where_it_is_all_there_is(self):
        name = f'host {HOST}'
        self.server.set(name, sasl_disable=', '.join(
            f'SCRAM-SHA-{n}{p}' for n in (1, 256, 512) for p in ('', '-PLUS')))
        self.server.ctl_ok('reload')
        u = self.user('p').start()
        self.assertEqual(self.mechanism(u), ('PLAIN', 'yes'))
        u.end()
        del self.server.sections[name]['sasl_disable']
        self.server.write_config()
        self.server.ctl_ok('reload')

    def test_wrong_password(self):
        u = self.user('w', password='wrong')
        self.assertTrue(u.line().startswith('disconnected'))

    def test_tls_is_required(self):
        u = self.user('t', mode='plain')
        self.assertTrue(u.line().startswith('disconnected'))

    def test_bound_resource(self):
        u = self.user('b', 'Desk 1').start()
        self.assertEqual(u.jid, f'{u.bare}/Desk 1')
        u.end()

    def test_roster_add_rename_group_remove(self):
        u, other = self.user('r', 'one').start(), self.user('r', 'two').start()
        jid = 'contact@localhost'
        u.set_item(jid, 'name="First"', '<group>Friends</group>')
        push = other.wait('iq', type_='set')
        self.assertEqual(push.find(f'.//{q(ROSTER, "item")}').get('name'), 'First', show(push))
        other.send(f'<iq type="result" id="{push.get("id")}"/>')
        u.set_item(jid, 'name="&lt;Zwei\u2603&gt;"', '<group>Friends</group><group>Work</group>')
        self.assertEqual(u.items(), {jid: ('none', '<Zwei\u2603>', ['Friends', 'Work'])})
        u.set_item(jid)
        self.assertEqual(u.items(), {jid: ('none', None, [])})
        u.set_item(jid, 'subscription="remove"')
        self.assertEqual(other.items(), {})
        u.end()
        other.end()

    def test_subscription_in_four_steps_both_ways(self):
        a, b = self.user('a').start(), self.user('b').start()
        self.subscribe(a, b)
        self.subscribe(b, a)
        self.assertEqual(a.items()[b.bare][0], 'both')
        self.assertEqual(b.items()[a.bare][0], 'both')
        a.send(f'<presence type="unsubscribe" to="{b.bare}"/>')
        b.wait('presence', a.bare, 'unsubscribe')
        a.wait('presence', b.jid, 'unavailable')
        self.assertEqual(a.items()[b.bare][0], 'from')
        a.send(f'<presence type="unsubscribed" to="{b.bare}"/>')
        b.wait('presence', a.bare, 'unsubscribed')
        self.assertEqual(b.items()[a.bare][0], 'none')
        a.end()
        b.end()

    def test_presence_with_two_resources(self):
        a, b1 = self.user('a').start(), self.user('b', 'one').start()
        self.subscribe(a, b1)
        self.subscribe(b1, a)
        b2 = self.user('b', 'two').start()
        a.wait('presence', b2.jid)
        b1.wait('presence', b2.jid)
        b2.wait('presence', b1.jid)
        b2.wait('presence', a.jid)
        b1.send('<presence><show>dnd</show><priority>7</priority></presence>')
        p = a.wait('presence', b1.jid)
        self.assertEqual(p.findtext(q(CLIENT, 'show')), 'dnd')
        b1.end()
        a.wait('presence', b1.jid, 'unavailable')
        b2.process.kill()
        a.wait('presence', b2.jid, 'unavailable')
        a.end()

    def test_chat(self):
        a, b = self.user('a').start(), self.user('b').start()
        for to in (b.bare, b.jid):
            for i in range(20):
                a.send(f'<message type="chat" to="{to}"><body>{i} &lt;&amp;&gt; \u00fc\U0001f600'
                       '</body></message>')
            for i in range(20):
                m = b.wait('message', a.jid, 'chat')
                self.assertEqual(m.findtext(q(CLIENT, 'body')), f'{i} <&> \u00fc\U0001f600')
        a.end()
        b.end()

    def test_offline_messages_over_a_restart(self):
        a = self.user('a').start()
        b = self.user('b').start()
        b.end()
        for i in range(5):
            a.send(f'<message type="chat" to="{b.bare}"><body>stored {i}</body></message>')
        a.items()
        a.end()
        self.server.restart()
        b = self.user('b').start()
        for i in range(5):
            m = b.wait('message', a.jid, 'chat')
            self.assertEqual(m.findtext(q(CLIENT, 'body')), f'stored {i}')
            self.assertIsNotNone(m.find('{urn:xmpp:delay}delay'))
        b.end()
        b = self.user('b').start()
        b.items()
        self.assertEqual([e for e in b.early if e.tag == q(CLIENT, 'message')], [])
        b.end()

    def test_password_change_and_account_removal(self):
        """The part of XEP-0077 that libstrophe can do after a login."""
        u = self.user('c').start()
        name = u.bare.split('@')[0]
        u.ask('<iq type="set" id="{id}" to="localhost"><query xmlns="jabber:iq:register">'
              f'<username>{name}</username><password>other password</password></query></iq>')
        u.end()
        u = self.user('c', password='other password').start()
        u.send('<iq type="set" id="bye"><query xmlns="jabber:iq:register"><remove/></query></iq>')
        while not u.line().startswith('disconnected'):
            pass
        rows = self.server.ctl_json('user', 'list', HOST, '--limit', '10000')
        self.assertNotIn(u.bare, [r['jid'] for r in rows])


if __name__ == '__main__':
    tap.main()
