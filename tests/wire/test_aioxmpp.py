"""tests/wire/test_aioxmpp.py: aioxmpp, unchanged, from Debian: it checks what it gets against the RFCs
strictly. STARTTLS and direct TLS, roster, subscriptions, two resources, chat, messages while
offline over a restart of the server, registration.  test-timeout: 240"""
import asyncio
import contextlib
import logging
import os
import unittest

import aiosasl
import aioxmpp
import aioxmpp.connector
import aioxmpp.dispatcher
import aioxmpp.ibr
import aioxmpp.xso

import tap
from server import HOST, TIMEOUT, Server

logging.basicConfig(level=logging.ERROR)
if os.environ.get('WIRE_DEBUG'):
    logging.getLogger().setLevel(logging.DEBUG)
    logging.getLogger('aioxmpp').setLevel(logging.DEBUG)

MODULES = ('roster', 'presence', 'offline', 'disco', 'ping', 'register')
PRESENCE = aioxmpp.PresenceType


def bare(jid):
    return aioxmpp.JID.fromstr(jid).bare()


class Named(aioxmpp.security_layer.PasswordSASLProvider):
    """The library's own, held to one mechanism."""

    def __init__(self, password, name):
        async def provide(jid, attempt):
            return password if attempt == 0 else None
        super().__init__(provide)
        self.name = name

    async def execute(self, jid, features, xmlstream, tls_transport):
        mechanisms = features[aioxmpp.security_layer.SASLMechanisms].mechanisms
        mechanisms[:] = [m for m in mechanisms if m.name == self.name]
        return await super().execute(jid, features, xmlstream, tls_transport)


class User:
    """A client with queues that can be awaited."""

    def __init__(self, server, jid, password='secret', direct=False, mechanism=None, services=()):
        self.jid = aioxmpp.JID.fromstr(jid)
        connector = aioxmpp.connector.XMPPOverTLSConnector() if direct else \
            aioxmpp.connector.STARTTLSConnector()
        layer = aioxmpp.make_security_layer(password, no_verify=True)
        if mechanism:
            layer = layer._replace(sasl_providers=(Named(password, mechanism),))
        self.client = aioxmpp.Client(
            self.jid, layer, override_peer=[('127.0.0.1', server.port, connector)],
            max_initial_attempts=1)
        self.messages, self.presences = asyncio.Queue(), asyncio.Queue()
        self.early = []
        dispatcher = self.client.summon(aioxmpp.dispatcher.SimpleMessageDispatcher)
        dispatcher.register_callback(None, None, self.messages.put_nowait)
        for service in services:                       # they want their callbacks first
            self.client.summon(service)
        presence = self.client.summon(aioxmpp.dispatcher.SimplePresenceDispatcher)
        for type_ in (PRESENCE.AVAILABLE, PRESENCE.UNAVAILABLE, PRESENCE.SUBSCRIBE,
                      PRESENCE.SUBSCRIBED, PRESENCE.UNSUBSCRIBE, PRESENCE.UNSUBSCRIBED):
            with contextlib.suppress(ValueError):      # a service has it
                presence.register_callback(type_, None, self.presences.put_nowait)

    async def start(self, presence=True, roster=True):
        established = asyncio.get_event_loop().create_future()
        self.client.on_stream_established.connect(
            lambda: established.done() or established.set_result(None))
        self.client.on_failure.connect(
            lambda e: established.done() or established.set_exception(e))
        self.client.start()
        await asyncio.wait_for(established, TIMEOUT)
        if roster:                                     # an "interested" resource: RFC 6121, 2.2
            await self.items()
        if presence:
            await self.send(aioxmpp.Presence(type_=PRESENCE.AVAILABLE))
            await self.presence_from(self.full)
        return self

    @property
    def full(self):
        return self.client.local_jid

    async def send(self, stanza):
        return await asyncio.wait_for(self.client.send(stanza), TIMEOUT)

    async def presence_from(self, jid, kind=PRESENCE.AVAILABLE):
        for p in self.early:
            if p.from_ == jid and p.type_ == kind:
                self.early.remove(p)
                return p
        while True:
            p = await asyncio.wait_for(self.presences.get(), TIMEOUT)
            if p.from_ == jid and p.type_ == kind:
                return p
            self.early.append(p)

    async def message(self):
        return await asyncio.wait_for(self.messages.get(), TIMEOUT)

    async def say(self, to, text, type_=aioxmpp.MessageType.CHAT):
        m = aioxmpp.Message(to=to, type_=type_)
        m.body[None] = text
        await self.send(m)

    async def subscribe(self, kind, to):
        await self.send(aioxmpp.Presence(type_=kind, to=to))

    async def items(self):
        """The roster as the server has it now."""
        answer = await self.send(aioxmpp.IQ(type_=aioxmpp.IQType.GET,
                                            payload=aioxmpp.roster.xso.Query()))
        return {str(i.jid): (i.subscription, i.name, sorted(g.name for g in i.groups))
                for i in answer.items}

    async def set_item(self, jid, **options):
        groups = [aioxmpp.roster.xso.Group(name=g) for g in options.pop('groups', ())]
        item = aioxmpp.roster.xso.Item(jid, groups=groups, **options)
        await self.send(aioxmpp.IQ(type_=aioxmpp.IQType.SET,
                                   payload=aioxmpp.roster.xso.Query(items=[item])))

    async def end(self):
        stopped = asyncio.get_event_loop().create_future()
        self.client.on_stopped.connect(lambda: stopped.done() or stopped.set_result(None))
        self.client.stop()
        await asyncio.wait_for(stopped, TIMEOUT)


def with_loop(f):
    def case(self):
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(asyncio.wait_for(f(self), 4 * TIMEOUT))
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()
    case.__name__ = f.__name__
    return case


class Aioxmpp(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(modules=MODULES).start()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def user(self, name, resource='', **options):
        jid = f'{name}-{self._testMethodName.replace("test_", "")[:40]}@{HOST}'
        if jid not in getattr(self, 'made', ()):
            self.server.add_user(jid)
            self.made = {jid} | getattr(self, 'made', set())
        return User(self.server, f'{jid}/{resource}' if resource else jid, **options)

    async def friends(self, a, b):
        for one, two in ((a, b), (b, a)):
            await one.subscribe(PRESENCE.SUBSCRIBE, two.jid.bare())
            await two.presence_from(one.jid.bare(), PRESENCE.SUBSCRIBE)
            await two.subscribe(PRESENCE.SUBSCRIBED, one.jid.bare())
            await one.presence_from(two.jid.bare(), PRESENCE.SUBSCRIBED)
            await one.presence_from(two.full)

    @with_loop
    async def test_starttls_with_scram_and_plain(self):
        for mechanism in ('SCRAM-SHA-1', 'SCRAM-SHA-256', 'PLAIN'):
            u = await self.user('m', mechanism=mechanism).start()
            await self.roundtrip(u)
            await u.end()

    @with_loop
    async def test_starttls_with_the_librarys_choice(self):
        u = await self.user('c').start()
        await self.roundtrip(u)
        await u.end()

    @with_loop
    async def test_direct_tls(self):
        u = await self.user('d', direct=True).start()
        await self.roundtrip(u)
        await u.end()

    async def roundtrip(self, u):
        await u.send(aioxmpp.IQ(type_=aioxmpp.IQType.GET, to=bare(HOST),
                                payload=aioxmpp.ping.Ping()))

    @with_loop
    async def test_wrong_password(self):
        u = self.user('w', password='wrong')
        with self.assertRaises(aiosasl.AuthenticationFailure):
            await u.start()

    @with_loop
    async def test_bound_resource(self):
        u = await self.user('b', 'Desk 1').start()
        self.assertEqual(u.full.resource, 'Desk 1')
        await u.end()

    @with_loop
    async def test_disco(self):
        u = await self.user('i').start()
        info = await u.send(aioxmpp.IQ(type_=aioxmpp.IQType.GET, to=bare(HOST),
                                       payload=aioxmpp.disco.xso.InfoQuery()))
        self.assertIn(('server', 'im'), {(i.category, i.type_) for i in info.identities})
        self.assertIn('urn:xmpp:ping', info.features)
        await u.end()

    @with_loop
    async def test_roster_add_rename_group_remove(self):
        u = await self.user('r').start()
        contact = bare('contact@localhost')
        await u.set_item(contact, name='First', groups=['Friends'])
        self.assertEqual(await u.items(), {str(contact): ('none', 'First', ['Friends'])})
        await u.set_item(contact, name='Second \u2603 & <x>', groups=['Friends', 'Work'])
        self.assertEqual(await u.items(),
                         {str(contact): ('none', 'Second \u2603 & <x>', ['Friends', 'Work'])})
        await u.set_item(contact)
        self.assertEqual(await u.items(), {str(contact): ('none', None, [])})
        await u.set_item(contact, subscription='remove')
        self.assertEqual(await u.items(), {})
        with self.assertRaises(aioxmpp.XMPPCancelError) as caught:
            await u.set_item(contact, subscription='remove')
        self.assertEqual(caught.exception.condition, aioxmpp.ErrorCondition.ITEM_NOT_FOUND)
        await u.end()

    @with_loop
    async def test_roster_service_sees_pushes(self):
        u = self.user('p', 'one', services=[aioxmpp.RosterClient])
        service = u.client.summon(aioxmpp.RosterClient)
        changed = asyncio.Queue()
        service.on_entry_added.connect(lambda item: (changed.put_nowait(item), False)[1])
        service.on_entry_removed.connect(lambda item: (changed.put_nowait(item), False)[1])
        await u.start()
        other = await self.user('p', 'two').start()
        contact = bare('contact@localhost')
        await other.set_item(contact, name='N')
        item = await asyncio.wait_for(changed.get(), TIMEOUT)
        self.assertEqual((item.jid, item.name), (contact, 'N'))
        await other.set_item(contact, subscription='remove')
        self.assertEqual((await asyncio.wait_for(changed.get(), TIMEOUT)).jid, contact)
        await u.end()
        await other.end()

    @with_loop
    async def test_subscription_in_four_steps_both_ways(self):
        a, b = await self.user('a').start(), await self.user('b').start()
        await self.friends(a, b)
        for one, two in ((a, b), (b, a)):
            self.assertEqual((await one.items())[str(two.jid.bare())][0], 'both')
        await a.subscribe(PRESENCE.UNSUBSCRIBE, b.jid.bare())
        await b.presence_from(a.jid.bare(), PRESENCE.UNSUBSCRIBE)
        await a.presence_from(b.full, PRESENCE.UNAVAILABLE)
        await a.subscribe(PRESENCE.UNSUBSCRIBED, b.jid.bare())
        await b.presence_from(a.jid.bare(), PRESENCE.UNSUBSCRIBED)
        for one, two in ((a, b), (b, a)):
            self.assertEqual((await one.items())[str(two.jid.bare())][0], 'none')
        await a.end()
        await b.end()

    @with_loop
    async def test_presence_with_two_resources(self):
        a, b1 = await self.user('a').start(), await self.user('b', 'one').start()
        await self.friends(a, b1)
        b2 = await self.user('b', 'two').start()
        await a.presence_from(b2.full)
        await b1.presence_from(b2.full)
        await b2.presence_from(b1.full)
        await b2.presence_from(a.full)
        p = aioxmpp.Presence(type_=PRESENCE.AVAILABLE, show=aioxmpp.PresenceShow.DND)
        p.status[None] = 'busy \u2603'
        p.priority = 5
        await b1.send(p)
        while True:
            p = await a.presence_from(b1.full)
            if p.show == aioxmpp.PresenceShow.DND:
                break
        self.assertEqual((p.status.any(), p.priority), ('busy \u2603', 5))
        await b1.end()
        await a.presence_from(b1.full, PRESENCE.UNAVAILABLE)
        await b2.end()
        await a.presence_from(b2.full, PRESENCE.UNAVAILABLE)
        await a.end()

    @with_loop
    async def test_chat(self):
        a, b = await self.user('a').start(), await self.user('b').start()
        for to in (b.jid.bare(), b.full):
            for i in range(20):
                await a.say(to, f'{i} <&> \u00fc\U0001f600')
            for i in range(20):
                m = await b.message()
                self.assertEqual(m.body.any(), f'{i} <&> \u00fc\U0001f600')
                self.assertEqual(m.from_, a.full)
        await b.say(a.full, 'back')
        self.assertEqual((await a.message()).body.any(), 'back')
        await a.end()
        await b.end()

    @with_loop
    async def test_offline_messages_over_a_restart(self):
        a, b = await self.user('a').start(), self.user('b')
        for i in range(5):
            await a.say(b.jid.bare(), f'stored {i}')
        await self.roundtrip(a)
        await a.end()
        self.server.restart()
        b = await self.user('b').start()
        for i in range(5):
            m = await b.message()
            self.assertEqual((m.body.any(), m.from_.bare()), (f'stored {i}', a.jid.bare()))
            self.assertTrue(m.xep0203_delay)
        await b.end()
        again = await self.user('b').start()
        await self.roundtrip(again)
        self.assertTrue(again.messages.empty(), 'delivered twice')
        await again.end()

    @with_loop
    async def test_registration(self):
        jid = bare(f'fresh-aioxmpp@{HOST}')
        layer = aioxmpp.make_security_layer(None, no_verify=True)
        peer = [('127.0.0.1', self.server.port, aioxmpp.connector.STARTTLSConnector())]
        _, stream, _ = await asyncio.wait_for(aioxmpp.node.connect_xmlstream(
            jid, layer, override_peer=peer), TIMEOUT)
        form = await asyncio.wait_for(aioxmpp.ibr.get_registration_fields(stream), TIMEOUT)
        self.assertEqual((form.username, form.password), ('', ''))     # both are asked for
        self.assertTrue(form.instructions)
        self.assertFalse(form.registered)
        await asyncio.wait_for(aioxmpp.ibr.register(stream, aioxmpp.ibr.Query(
            username=jid.localpart, password='new password')), TIMEOUT)
        stream.close()
        u = await User(self.server, str(jid), 'new password').start()
        service = u.client.summon(aioxmpp.ibr.RegistrationService)
        await asyncio.wait_for(service.change_pass('other password'), TIMEOUT)
        await u.end()
        u = await User(self.server, str(jid), 'other password').start()
        service = u.client.summon(aioxmpp.ibr.RegistrationService)
        await asyncio.wait_for(service.cancel_registration(), TIMEOUT)
        rows = self.server.ctl_json('user', 'list', HOST, '--limit', '10000')
        self.assertNotIn(str(jid), [r['jid'] for r in rows])
        u.client.stop()


if __name__ == '__main__':
    tap.main()
