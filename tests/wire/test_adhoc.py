"""tests/wire/test_adhoc.py: commands of an admin (XEP-0050, XEP-0133) with slixmpp, unchanged, from Debian, and
raw: over real loops, also the ones that replace the module that serves them and stop the server; logging in
with a token (mod_auth_token). test-timeout: 120"""
import asyncio
import unittest

import tap
import test_slixmpp
from server import HOST, TIMEOUT, Server
from test_slixmpp import with_loop
from xmpp import Client, q

MODULES = ('roster', 'presence', 'offline', 'disco', 'last', 'adhoc', 'announce', 'auth_token')
CMD, ADMIN, FORM = ('http://jabber.org/protocol/commands', 'http://jabber.org/protocol/admin',
                    'jabber:x:data')
TOKEN = 'erlang-solutions.com:xmpp:token-auth:0'


def command(node, session=None, fields=None, action='execute'):
    attrs = f" sessionid='{session}'" if session else ''
    form = ''.join(f"<field var='{k}'><value>{v}</value></field>" for k, v in (fields or {}).items())
    form = f"<x xmlns='{FORM}' type='submit'>{form}</x>" if fields else ''
    return (f"<iq type='set' to='{HOST}' id='{{id}}'><command xmlns='{CMD}' node='{node}' action='{action}'"
            f"{attrs}>{form}</command></iq>")


class Admin(test_slixmpp.User):
    def __init__(self, jid):
        super().__init__(jid)
        for plugin in ('xep_0004', 'xep_0050', 'xep_0133'):
            self.register_plugin(plugin)


class Commands(unittest.TestCase):
    def setUp(self):
        self.server = Server(modules=MODULES, host={'admins': f'admin@{HOST}'}).start()
        for name in ('admin', 'bob'):
            self.server.add_user(f'{name}@{HOST}')

    def tearDown(self):
        self.server.stop()

    def run_command(self, c, node, fields=None):
        answer = c.request(command(node))
        el = answer.find(q(CMD, 'command'))
        if fields is None:
            return el
        return c.request(command(node, el.get('sessionid'), fields, 'complete')).find(q(CMD, 'command'))

    @with_loop
    async def test_slixmpp_adds_a_user(self):
        admin = Admin(f'admin@{HOST}/a')
        await admin.start(self.server)
        done = asyncio.get_running_loop().create_future()

        def form(iq, session):
            x = admin['xep_0004'].make_form(ftype='submit')
            x.add_field(var='FORM_TYPE', ftype='hidden', value=ADMIN)
            x.add_field(var='accountjid', value=f'carol@{HOST}')
            x.add_field(var='password', value='secret')
            x.add_field(var='password-verify', value='secret')
            session['payload'] = x
            session['next'] = lambda iq, session: done.set_result(iq)
            admin['xep_0050'].complete_command(session)

        admin['xep_0050'].start_command(HOST, f'{ADMIN}#add-user',
                                        {'next': form, 'error': lambda iq, s: done.set_result(iq)})
        iq = await asyncio.wait_for(done, TIMEOUT)
        self.assertEqual(iq['command']['status'], 'completed', iq)
        carol = test_slixmpp.User(f'carol@{HOST}/c')
        await carol.start(self.server)
        items = await admin['xep_0050'].get_commands(HOST)
        self.assertIn(f'{ADMIN}#set-motd', [node for _, node, _ in items['disco_items']['items']])

    def test_figures_of_all_loops(self):
        with Client(self.server) as c, Client(self.server) as d:
            c.login(f'admin@{HOST}', resource='a')
            d.login(f'bob@{HOST}', resource='b')
            el = self.run_command(c, f'{ADMIN}#get-online-users-num')
            self.assertIn('2', [v.text for v in el.iter(q(FORM, 'value'))])

    def test_a_command_that_replaces_the_module(self):
        with Client(self.server) as c:
            c.login(f'admin@{HOST}', resource='a')
            with open(self.server.ini, 'a', encoding='utf-8') as f:
                f.write('\n[mod_adhoc localhost]\npage = 7\n')
            el = self.run_command(c, 'command:reload')
            self.assertEqual(el.get('status'), 'completed')
            self.assertIsNotNone(self.run_command(c, 'ping'))

    def test_announcements(self):
        with Client(self.server) as c, Client(self.server) as d:
            c.login(f'admin@{HOST}', resource='a')
            d.login(f'bob@{HOST}', resource='b')
            d.send('<presence/>')
            d.stanza('presence')
            self.run_command(c, f'{ADMIN}#announce', {'announcement': 'hear'})
            m = d.stanza('message')
            self.assertEqual(m.findtext(q('jabber:client', 'body')), 'hear')

    def test_a_token(self):
        with Client(self.server) as c:
            c.login(f'bob@{HOST}', resource='b')
            items = c.request(f"<iq type='get' id='{{id}}'><query xmlns='{TOKEN}'/></iq>").find(q(TOKEN, 'items'))
            refresh = items.findtext(q(TOKEN, 'refresh_token'))
        for _ in range(2):
            with Client(self.server) as c:
                c.secure()
                self.assertIn('X-OAUTH', c.mechanisms())
                c.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='X-OAUTH'>"
                       f'{refresh}</auth>')
                success = c.element()
                self.assertTrue(success.tag.endswith('success'), success.tag)
                refresh = success.text or refresh   # the access token that it brought

    def test_shutdown(self):
        with Client(self.server) as c:
            c.login(f'admin@{HOST}', resource='a')
            el = c.request(command(f'{ADMIN}#shutdown')).find(q(CMD, 'command'))
            c.send(command(f'{ADMIN}#shutdown', el.get('sessionid'), {'delay': '1'}, 'complete'))
            self.assertEqual(self.server.wait_end(), 0)


if __name__ == '__main__':
    tap.main()
