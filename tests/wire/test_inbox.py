"""tests/wire/test_inbox.py: mod_inbox, mod_smart_markers, mod_offline_chatmarkers and XEP-0013 with a real
store and several loops: many conversations, long addresses, kill -9."""
import unittest

import tap
from server import Server
from xmpp import Client, q

INBOX = 'erlang-solutions.com:xmpp:inbox:0'
CONVERSATION = INBOX + '#conversation'
MARKERS = 'urn:xmpp:chat-markers:0'
SMART = 'esl:xmpp:smart-markers:0'
OFFLINE = 'http://jabber.org/protocol/offline'
ITEMS = 'http://jabber.org/protocol/disco#items'
RSM = 'http://jabber.org/protocol/rsm'


class Inbox(unittest.TestCase):
    def setUp(self):
        self.server = Server(modules=['presence', 'disco', 'offline', 'smart_markers',
                                      'offline_chatmarkers', 'inbox'], server={'loops': 4}).start()
        self.addCleanup(self.server.stop)
        for jid in ('juliet@localhost', 'romeo@localhost'):
            self.server.add_user(jid)

    def login(self, jid, resource='r'):
        c = Client(self.server).login(jid, resource=resource)
        self.addCleanup(c.abort)
        return c

    def entries(self, c, content=''):
        """(body, unread) of each, and the answer's <fin/>."""
        c.send(f"<iq type='set' id='list'><inbox xmlns='{INBOX}'>{content}</inbox></iq>")
        found = []
        while True:
            el = c.element()
            if el.tag != q('jabber:client', 'message'):
                return found, el.find(q(INBOX, 'fin'))
            result = el.find(q(INBOX, 'result'))
            body = next(result.iter(q('jabber:client', 'body')))
            found.append((body.text, int(result.get('unread'))))

    def test_what_was_answered_survives_a_kill(self):
        juliet = self.login('juliet@localhost')
        for i in range(20):
            juliet.send(f"<message to='romeo@localhost' id='m{i}' type='chat'><body>{i}</body></message>")
        juliet.send(f"<message to='romeo@localhost'><displayed xmlns='{MARKERS}' id='x'/></message>")
        juliet.request(f"<iq type='set' id='{{id}}'><query xmlns='{CONVERSATION}' jid='romeo@localhost'>"
                       '<mute>600</mute></query></iq>')
        juliet.sync()
        romeo = self.login('romeo@localhost')
        self.assertEqual(self.entries(romeo)[0], [('19', 20)])
        romeo.request(f"<iq type='set' id='{{id}}'><query xmlns='{CONVERSATION}' jid='juliet@localhost'>"
                      '<read>true</read><box>archive</box></query></iq>')
        self.server.kill()
        self.server.start()
        romeo = self.login('romeo@localhost')
        self.assertEqual(self.entries(romeo)[0], [('19', 0)])
        el = romeo.request(f"<iq type='get' id='{{id}}'><query xmlns='{SMART}' peer='juliet@localhost'/></iq>")
        self.assertEqual([m.get('id') for m in el.iter(q(SMART, 'marker'))], ['x'])
        el = romeo.request(f"<iq type='get' id='{{id}}'><query xmlns='{ITEMS}' node='{OFFLINE}'/></iq>")
        nodes = [i.get('node') for i in el.iter(q(ITEMS, 'item'))]
        self.assertEqual(len(nodes), 20)            # the marker is not among them
        remove = ''.join(f"<item action='remove' node='{n}'/>" for n in nodes[:19])
        romeo.request(f"<iq type='set' id='{{id}}'><offline xmlns='{OFFLINE}'>{remove}</offline></iq>")
        self.server.kill()
        self.server.start()
        romeo = self.login('romeo@localhost')
        romeo.send('<presence/>')
        romeo.stanza('presence')
        romeo.stanza('message', id='m19')
        el = romeo.stanza('message')
        self.assertIsNotNone(el.find(q(MARKERS, 'displayed')))

    def test_many_conversations_with_long_addresses(self):
        juliet = self.login('juliet@localhost')
        many = 450
        for i in range(many):
            node = f'{i:04}' + 'x' * (1000 if i % 3 == 0 else 5)
            juliet.send(f"<message to='{node}@far.example'><body>{i}</body></message>")
        for _ in range(many):
            juliet.stanza('message', type='error')  # nobody reaches that server
        found, fin = self.entries(juliet)
        self.assertEqual([int(b) for b, _ in found], list(reversed(range(many))))
        self.assertEqual(fin.find(q(INBOX, 'count')).text, str(many))
        seen, after = [], ''
        while True:
            found, fin = self.entries(juliet, f"<set xmlns='{RSM}'><max>100</max>{after}</set>")
            if not found:
                break
            seen += [int(b) for b, _ in found]
            last = fin.find(q(RSM, 'set')).find(q(RSM, 'last')).text
            after = f'<after>{last}</after>'
        self.assertEqual(seen, list(reversed(range(many))))


if __name__ == '__main__':
    tap.main()
