"""tests/wire/test_mam.py: mod_mam with slixmpp, unchanged, from Debian: paging forwards and backwards
through 120 messages, filters, preferences, metadata, over a restart of the server.  test-timeout: 240"""
import asyncio
import datetime
import unittest

import sasl
import tap
from sasl2 import BIND2, SASL2, bind
from server import HOST, Server
from test_slixmpp import User, with_loop
from xmpp import Client, q

MODULES = ('roster', 'presence', 'offline', 'disco', 'ping', 'mam')
COUNT = 120
MAM = 'urn:xmpp:mam:2'


def bodies(results):
    return [m['mam_result']['forwarded']['stanza']['body'] for m in results]


class Mam(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(modules=MODULES).start()
        for name in ('romeo', 'juliet', 'nurse', 'keeper', 'taker', 'binder'):
            cls.server.add_user(f'{name}@{HOST}')

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    async def start(self, name, resource='r'):
        u = User(f'{name}@{HOST}/{resource}')
        for plugin in ('xep_0313', 'xep_0059', 'xep_0441', 'xep_0359'):
            u.register_plugin(plugin)
        await u.start(self.server)
        return u

    async def page(self, u, **rsm):
        return await u['xep_0313'].retrieve(rsm=rsm)

    def bound(self):
        """A login with Bind 2: the client, and what <bound/> says of the archive."""
        c = Client(self.server)
        self.addCleanup(c.abort)
        c.secure()
        c.send(f"<authenticate xmlns='{SASL2}' mechanism='PLAIN'><initial-response>"
               f"{sasl.b64(sasl.plain('binder', 'secret'))}</initial-response>{bind()}</authenticate>")
        success = c.element(q(SASL2, 'success'))
        c.element()                                             # the features
        return c, success.find(f"{q(BIND2, 'bound')}/{q(MAM, 'metadata')}")

    def test_bound_tells_where_it_stands(self):                 # XEP-0386, example 4
        c, metadata = self.bound()
        self.assertEqual(len(metadata), 0)
        for i in range(3):
            c.send(f"<message type='chat' to='binder@{HOST}' id='{i}'><body>{i}</body></message>")
        c.sync()
        found, _ = c.ask(f"<iq type='set' id='{{id}}'><query xmlns='{MAM}'/></iq>")
        ids = [el.find(q(MAM, 'result')).get('id') for el in found]
        _, metadata = self.bound()
        start, end = metadata.find(q(MAM, 'start')), metadata.find(q(MAM, 'end'))
        self.assertEqual((start.get('id'), end.get('id')), (ids[0], ids[-1]))
        self.assertRegex(end.get('timestamp'), r'^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$')

    @with_loop
    async def test_pages(self):
        romeo = await self.start('romeo')
        juliet = await self.start('juliet')
        ids = []
        for i in range(COUNT):
            romeo.send_message(mto=f'juliet@{HOST}' if i % 3 else f'nurse@{HOST}', mbody=str(i))
            if i % 3:
                message = await juliet.of('message')
                ids.append(message['stanza_id']['id'])
                self.assertEqual(message['stanza_id']['by'], f'juliet@{HOST}')
        everything = [str(i) for i in range(COUNT)]
        for amount in (7, 50, 200):
            got = [m async for m in romeo['xep_0313'].iterate(rsm={'max': amount})]
            self.assertEqual(bodies(got), everything)
            got = [m async for m in romeo['xep_0313'].iterate(rsm={'max': amount}, reverse=True)]
            self.assertEqual(bodies(got), everything[::-1])
        theirs = [str(i) for i in range(COUNT) if i % 3]
        got = [m async for m in romeo['xep_0313'].iterate(with_jid=f'juliet@{HOST}')]
        self.assertEqual(bodies(got), theirs)
        got = [m async for m in romeo['xep_0313'].iterate(with_jid=f'juliet@{HOST}', reverse=True)]
        self.assertEqual(bodies(got), theirs[::-1])
        # what juliet was told is what her archive says
        got = [m async for m in juliet['xep_0313'].iterate(rsm={'max': 33})]
        self.assertEqual([m['mam_result']['id'] for m in got], ids)
        self.assertEqual(bodies(got), theirs)
        for u in romeo, juliet:
            await u.end()
        self.server.restart()
        juliet = await self.start('juliet')
        got = [m async for m in juliet['xep_0313'].iterate(rsm={'max': 33, 'after': ids[9]})]
        self.assertEqual([m['mam_result']['id'] for m in got], ids[10:])
        data = (await juliet['xep_0313'].get_archive_metadata())['mam_metadata']
        self.assertEqual((data['start']['id'], data['end']['id']), (ids[0], ids[-1]))
        first = data['start']['timestamp']
        iq = await juliet['xep_0313'].retrieve(end=first - datetime.timedelta(seconds=1))
        self.assertEqual(list(iq['mam']['results']), [])
        iq = await juliet['xep_0313'].retrieve(start=first, rsm={'max': 5})
        self.assertEqual(bodies(iq['mam']['results']), theirs[:5])
        self.assertEqual(iq['mam_fin']['rsm']['count'], str(len(theirs)))
        await juliet.end()

    @with_loop
    async def test_preferences(self):
        nurse = await self.start('nurse')
        await nurse['xep_0441'].set_preferences(default='never', always=[f'juliet@{HOST}'])
        default, always, never = await nurse['xep_0441'].get_preferences()
        self.assertEqual((default, {str(j) for j in always}, list(never)),
                         ('never', {f'juliet@{HOST}'}, []))
        for to in 'romeo', 'juliet':
            nurse.send_message(mto=f'{to}@{HOST}', mbody=to)
        got = [m async for m in nurse['xep_0313'].iterate(start=datetime.datetime(
            2000, 1, 1, tzinfo=datetime.timezone.utc))]
        self.assertEqual(bodies(got)[-1], 'juliet')
        self.assertNotIn('romeo', bodies(got))
        await nurse.end()

    @with_loop
    async def test_kept_is_kept(self):
        """What a query has shown is there after a kill -9; the other side has no gap, and may lack the end."""
        count = 200
        keeper = await self.start('keeper')
        for i in range(count):
            keeper.send_message(mto=f'taker@{HOST}', mbody=str(i))
        iq = await self.page(keeper, max=1)
        self.assertEqual(iq['mam_fin']['rsm']['count'], str(count))
        self.server.kill()
        keeper.abort()
        self.server.start()
        for name in 'keeper', 'taker':
            u = await self.start(name, 'again')
            got = bodies([m async for m in u['xep_0313'].iterate(rsm={'max': 100})])
            self.assertEqual(got, [str(i) for i in range(len(got))])
            if name == 'keeper':
                self.assertEqual(len(got), count)
            await u.end()

    @with_loop
    async def test_discovery(self):
        nurse = await self.start('nurse', 'disco')
        for jid in HOST, f'nurse@{HOST}':
            info = await nurse['xep_0030'].get_info(jid)
            for feature in 'urn:xmpp:mam:2', 'urn:xmpp:mam:2#extended', 'urn:xmpp:sid:0':
                self.assertIn(feature, info['disco_info']['features'])
        await nurse.end()


if __name__ == '__main__':
    tap.main()
