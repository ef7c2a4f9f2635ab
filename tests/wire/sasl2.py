"""tests/wire/sasl2.py: the client's half of XEP-0388, XEP-0386, XEP-0484 and the HT mechanisms
(draft-schmaus-kitten-sasl-ht-09), on top of xmpp.Client."""
import hmac

import sasl
from xmpp import STREAM, Client, name_of, q, show

SASL2, BIND2, FAST = 'urn:xmpp:sasl:2', 'urn:xmpp:bind:0', 'urn:xmpp:fast:0'
IAP = 'urn:xmpp:iap:0'
RFC_SASL = 'urn:ietf:params:xml:ns:xmpp-sasl'
AGENT = 'd4565fa7-4d72-4749-b3d3-740edbf87770'
AGENT2 = '00000000-1111-4222-8333-444444444444'


def user_agent(id_=AGENT, software='AwesomeXMPP', device="Kiva's Phone"):
    attribute = '' if id_ is None else f" id='{id_}'"
    return (f"<user-agent{attribute}><software>{software}</software>"
            f"<device>{device}</device></user-agent>")


def bind(tag=None, inner=''):
    return f"<bind xmlns='{BIND2}'>{'' if tag is None else f'<tag>{tag}</tag>'}{inner}</bind>"


def authenticate(mechanism, data=None, more=''):
    text = '' if data is None else f'<initial-response>{sasl.b64(data)}</initial-response>'
    return f"<authenticate xmlns='{SASL2}' mechanism='{mechanism}'>{text}{more}</authenticate>"


def response(data):
    return f"<response xmlns='{SASL2}'>{sasl.b64(data)}</response>"


def ht(user, token, binding=b''):
    """(what to send, what must come back)"""
    key = token.encode('ascii')
    return (user.encode('utf-8') + b'\0' + hmac.new(key, b'Initiator' + binding, 'sha256').digest(),
            hmac.new(key, b'Responder' + binding, 'sha256').digest())


class Refused(Exception):
    def __init__(self, el):
        self.element = el
        self.condition = name_of(el[0])
        super().__init__(self.condition)


class Client2(Client):
    """A client that knows SASL2. Results are in `success` and `token`."""

    def answer(self):
        el = self.element()
        assert el.tag.startswith(q(SASL2, '')), show(el)
        if name_of(el) == 'failure':
            assert el[0].tag.startswith(q(RFC_SASL, '')), show(el)
            raise Refused(el)
        return el

    def succeed(self):
        self.success = el = self.answer()
        assert name_of(el) == 'success', show(el)
        self.jid = el.findtext(q(SASL2, 'authorization-identifier'))
        self.token = el.find(q(FAST, 'token'))
        return el

    def plain(self, user='juliet', password='secret', more=''):
        self.send(authenticate('PLAIN', sasl.plain(user, password), more))
        return self.succeed()

    def scram(self, user='juliet', password='secret', mechanism='SCRAM-SHA-256-PLUS', more='',
              binding='tls-exporter', **how):
        """Up to the answer to the last message, which is returned."""
        if mechanism.endswith('-PLUS'):
            how['binding'] = self.binding(binding)
        self.exchange = sasl.Scram(mechanism, user, password, **how)
        self.send(authenticate(mechanism, self.exchange.first(), more))
        challenge = self.answer()
        assert name_of(challenge) == 'challenge', show(challenge)
        self.send(response(self.exchange.final(sasl.unb64(challenge.text))))
        el = self.answer()
        self.exchange.check(sasl.unb64(el.findtext(q(SASL2, 'additional-data'))))
        return el

    def fast_element(self, token, user='juliet', mechanism='HT-SHA-256-EXPR', binding=None, more='',
                     attributes='', agent=AGENT):
        types = {'EXPR': 'tls-exporter', 'ENDP': 'tls-server-end-point'}
        if binding is None:
            kind = types.get(mechanism[-4:])
            binding = self.binding(kind)[1] if kind else b''
        if mechanism.endswith('UNIQ'):
            binding = self.tls.get_finished()
        data, self.expected = ht(user, token, binding)
        return authenticate(mechanism, data, f"{user_agent(agent) if agent else ''}"
                            f"<fast xmlns='{FAST}' {attributes}/>{more}")

    def fast(self, token, **how):
        self.send(self.fast_element(token, **how))
        el = self.succeed()
        assert sasl.unb64(el.findtext(q(SASL2, 'additional-data'))) == self.expected, show(el)
        return el

    def features_follow(self):
        self.features = self.element(q(STREAM, 'features'))
        return self.features
