"""tests/wire/test_csi.py: XEP-0352 over real streams: the feature, the order, and what a lost connection
leaves behind."""
import unittest

import sasl
import tap
from sasl2 import BIND2, SASL2, bind
from server import Server
from xmpp import CLIENT, STREAM, Client, q

CSI = 'urn:xmpp:csi:0'
ACTIVE, INACTIVE = f"<active xmlns='{CSI}'/>", f"<inactive xmlns='{CSI}'/>"
PING = "<iq type='get' id='{id}' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>"


class ClientState(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(modules=['roster', 'presence', 'offline', 'ping', 'csi'])
        cls.server.start()
        for user in ('a', 'b'):
            cls.server.add_user(f'{user}@localhost', 'secret')

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def client(self, jid, resource):
        c = Client(self.server)
        self.addCleanup(c.abort)
        return c.login(jid, resource=resource)

    def test_feature_only_after_login(self):                    # example 1
        c = Client(self.server)
        self.addCleanup(c.abort)
        c.secure()
        self.assertIsNone(c.features.find(q(CSI, 'csi')))
        c.authenticate('a', 'secret')
        self.assertIsNotNone(c.open().find(q(CSI, 'csi')))

    def test_before_binding(self):
        c = Client(self.server)
        self.addCleanup(c.abort)
        c.authenticated('a@localhost')
        c.send(INACTIVE)
        self.assertEqual(c.ended(), 'unsupported-stanza-type')

    def test_order(self):                                       # example 4
        a, b = self.client('a@localhost', 'x'), self.client('a@localhost', 'y')     # on one loop
        a.send(INACTIVE)
        a.sync()
        for status in ('one', 'two', 'three'):
            b.send(f"<presence to='a@localhost/x'><status>{status}</status></presence>")
        b.send("<message type='chat' to='a@localhost/x'>"
               "<composing xmlns='http://jabber.org/protocol/chatstates'/></message>")
        b.sync()
        before, pong = a.ask(ACTIVE + PING)
        self.assertEqual([el.findtext(q(CLIENT, 'status')) for el in before], ['three'])
        self.assertEqual(pong.get('type'), 'result')

    def test_begins_inactive(self):                             # XEP-0386, example 3
        a, b = Client(self.server), self.client('a@localhost', 'y')
        self.addCleanup(a.abort)
        a.secure()
        inline = a.features.find(f"{q(SASL2, 'authentication')}/{q(SASL2, 'inline')}/{q(BIND2, 'bind')}/"
                                 f"{q(BIND2, 'inline')}")
        self.assertIn(CSI, [el.get('var') for el in inline])
        a.send(f"<authenticate xmlns='{SASL2}' mechanism='PLAIN'><initial-response>"
               f"{sasl.b64(sasl.plain('a', 'secret'))}</initial-response>{bind(inner=INACTIVE)}</authenticate>")
        jid = a.element(q(SASL2, 'success')).findtext(q(SASL2, 'authorization-identifier'))
        a.element(q(STREAM, 'features'))
        for status in ('one', 'two', 'three'):
            b.send(f"<presence to='{jid}'><status>{status}</status></presence>")
        b.sync()
        before, _ = a.ask(ACTIVE + PING)
        self.assertEqual([el.findtext(q(CLIENT, 'status')) for el in before], ['three'])

    def test_a_message_brings_everything(self):
        a, b = self.client('a@localhost', 'x'), self.client('b@localhost', 'y')
        a.send(INACTIVE)
        a.sync()
        b.send("<presence to='a@localhost/x'/><message type='chat' to='a@localhost/x'>"
               "<body>hi</body></message>")
        a.stanza('presence', from_='b@localhost/y')
        self.assertEqual(a.stanza('message').findtext(q(CLIENT, 'body')), 'hi')
        a.silent()


if __name__ == '__main__':
    tap.main()
