/* grapnel/hook_list.h: every hook, once: X(name, scope, kind, async, event struct), and when it runs.
 * hooks.h says what scope (H, G), kind (V, A, N) and async (P) mean; docs/hooks.md is made from here
 * by scripts/hooks-doc. A hook whose comment begins with [somebody] is declared but run by nobody
 * until that somebody exists; the others are run by the core or by a shipped module. */
#pragma once

#include <grapnel/base.h> /* a list alone is not a C file */

#define GR_HOOK_LIST(X) \
    /* --- client to server --- */ \
    X(user_send_packet, H, V, 0, gr_stanza_ev) \
        /* whatever a bound client sends, before the hook of its type. STOP: that hook does not \
         * run, nothing is routed */ \
    X(user_send_message, H, V, P, gr_stanza_ev) \
        /* a bound client's message. STOP: not routed */ \
    X(user_send_iq, H, V, P, gr_stanza_ev) \
        /* a bound client's iq. STOP: not routed */ \
    X(user_send_presence, H, A, P, gr_stanza_ev) \
        /* a bound client's presence; the core never routes it, mod_presence does. STOP: it never \
         * sees it */ \
    X(user_send_xmlel, H, A, P, gr_stanza_ev) \
        /* of a bound client what is no stanza; before that every element that the core does not \
         * consume. STOP: claimed; unclaimed ones end the stream */ \
    \
    /* --- server to client --- */ \
    X(user_receive_packet, H, V, 0, gr_stanza_ev) \
        /* a stanza has reached the recipient's session, first of all. STOP: not delivered, no \
         * further hook */ \
    X(user_receive_message, H, V, 0, gr_stanza_ev) \
        /* then, a message. STOP: not delivered */ \
    X(user_receive_iq, H, V, 0, gr_stanza_ev) \
        /* then, an iq. STOP: not delivered */ \
    X(user_receive_presence, H, V, 0, gr_stanza_ev) \
        /* then, a presence. STOP: not delivered */ \
    X(user_receive_xmlel, H, V, 0, gr_stanza_ev) \
        /* then, anything else. STOP: not delivered */ \
    X(xmpp_presend_element, H, V, 0, gr_stanza_ev) \
        /* last, before it is written; also for what was held back (flush). STOP: not written */ \
    X(xmpp_send_element, H, A, 0, gr_stanza_ev) \
        /* it was given to the connection, or could not be (send_result) */ \
    \
    /* --- session life --- */ \
    X(check_bl_c2s, G, A, 0, gr_ip_ev) \
        /* a connection was accepted; nothing is sent yet. refuse: closed without a word */ \
    X(c2s_stream_features, H, A, 0, gr_features_ev) \
        /* <stream:features/> is built, before (GR_S_CONNECTED) and after login, when a resource may be \
         * bound already */ \
    X(auth_failed, H, N, 0, gr_session_ev) \
        /* a login was refused or given up; text is the name it used, if any */ \
    X(sasl2_stream_features, H, A, 0, gr_inline_ev) \
        /* before login, where SASL2 is offered: what a login can ask for goes into <inline/> */ \
    X(sasl2_start, H, V, 0, gr_inline_ev) \
        /* an <authenticate/> came, from nobody yet. STOP: refused (aborted) */ \
    X(sasl2_success, H, A, P, gr_inline_ev) \
        /* somebody has proved who he is, at home: the request's other children are carried out, the \
         * results go into <success/>. resumed = true: no resource is bound */ \
    X(fast_check, H, A, P, gr_fast_ev) \
        /* a login proves a token (XEP-0484): does it? On the account's home loop; what is to be \
         * remembered of it is on disk when the chain ends */ \
    X(token_check, H, A, P, gr_token_ev) \
        /* a login shows a token (X-OAUTH): is it good? On the account's home loop, and asked before it \
         * is known whether the account exists */ \
    X(bind2_stream_features, H, A, 0, gr_inline_ev) \
        /* before login, where SASL2 is offered: what can be enabled while binding (gr_bind2_feature) */ \
    X(bind2_enable_features, H, A, P, gr_inline_ev) \
        /* the resource of such a login is bound, nobody knows yet: the children of <bind/> are \
         * carried out, the results go into <bound/> */ \
    X(user_open_session, H, V, P, gr_session_ev) \
        /* a resource is to be bound. STOP: refused */ \
    X(session_opening_allowed_for_user, H, A, P, gr_session_ev) \
        /* within user_open_session. allow = false refuses; a later handler may still allow, \
         * unless STOP */ \
    X(forbidden_session, H, A, 0, gr_session_ev) \
        /* the two above have refused */ \
    X(sm_register_connection, H, N, 0, gr_session_ev) \
        /* the session stands in the table */ \
    X(sm_remove_connection, H, A, 0, gr_session_ev) \
        /* the session left the table; reason says why */ \
    X(set_presence, H, A, 0, gr_session_ev) \
        /* a session's available presence was stored */ \
    X(unset_presence, H, A, 0, gr_session_ev) \
        /* an available session became unavailable, by itself or at its end */ \
    X(user_available, H, A, 0, gr_session_ev) \
        /* a session became available; not at later updates */ \
    X(user_ping_response, H, A, 0, gr_session_ev) \
        /* a client answered the server's ping, or did not (ms = -1) */ \
    X(user_stop_request, H, V, 0, gr_session_ev) \
        /* something asks for the session's end. STOP: it lives on */ \
    X(user_socket_closed, H, V, 0, gr_session_ev) \
        /* the peer closed the connection. STOP: the session lives on without one */ \
    X(user_socket_error, H, V, 0, gr_session_ev) \
        /* the connection broke. STOP: the session lives on without one */ \
    X(foreign_event, H, V, 0, gr_foreign_ev) \
        /* a module posted something to the session (gr_session_post). Not stopped: nobody knew \
         * it, which is logged */ \
    X(user_terminate, H, A, 0, gr_session_ev) \
        /* the session ends for good; it still stands in the table */ \
    X(reroute_unacked_messages, H, A, 0, gr_session_ev) \
        /* afterwards: what was not delivered finds its way elsewhere */ \
    X(unacknowledged_message, H, A, 0, gr_stanza_ev) \
        /* a message is among the unacknowledged ones of a session without a connection */ \
    X(filter_unacknowledged_messages, H, A, 0, gr_stanza_ev) \
        /* an unacknowledged message of a session that is over is about to be routed again */ \
    X(session_cleanup, H, A, 0, gr_session_ev) \
        /* a session was found whose server died without ending it */ \
    X(does_user_exist, H, A, P, gr_user_ev) \
        /* somebody must know whether an account exists; exists is the answer */ \
    \
    /* --- accounts, hosts, nodes --- */ \
    X(register_user, H, N, 0, gr_user_ev) \
        /* an account was made */ \
    X(password_changed, H, A, P, gr_user_ev) \
        /* an account has another password: what was given out in its place is to go. Other sessions \
         * than the one that changed it end before and behind that (5, 100) */ \
    X(remove_user, H, A, P, gr_user_ev) \
        /* an account was deleted; its data is to go. Sessions end last (100) */ \
    X(anonymous_purge, H, A, P, gr_user_ev) \
        /* [anonymous accounts] the last session of an anonymous account ended */ \
    X(remove_domain, H, A, P, gr_domain_ev) \
        /* a host's data is to be deleted; ev.failed counts handlers that could not */ \
    X(node_cleanup, G, A, P, gr_domain_ev) \
        /* a server's leftovers are to go: this one's own before it listens, another's when it \
         * has died */ \
    X(register_subhost, G, N, 0, gr_domain_ev) \
        /* [components] a component or a module serves another domain */ \
    X(unregister_subhost, G, N, 0, gr_domain_ev) \
        /* [components] and no longer does */ \
    \
    /* --- routing, servers, components --- */ \
    X(filter_packet, G, V, 0, gr_stanza_ev) \
        /* every stanza of any origin, before it is routed. DROP: gone. May edit and redirect */ \
    X(filter_local_packet, H, V, P, gr_stanza_ev) \
        /* every stanza for a host of ours, before it is known who gets it. DROP: gone. May edit \
         * and redirect */ \
    X(packet_to_component, G, A, 0, gr_stanza_ev) \
        /* [components] a stanza is about to be written to a component */ \
    X(s2s_allow_host, H, A, 0, gr_domain_ev) \
        /* [servers] a connection with another server is to be opened, or asks to be. allow = \
         * false refuses */ \
    X(s2s_send_packet, H, A, 0, gr_stanza_ev) \
        /* [servers] a stanza is about to be sent to another server */ \
    X(s2s_receive_packet, G, A, 0, gr_stanza_ev) \
        /* [servers] a stanza came from another server; not routed yet */ \
    X(s2s_stream_features, H, A, 0, gr_features_ev) \
        /* [servers] features for another server are built */ \
    X(mod_global_distrib_known_recipient, H, N, 0, gr_stanza_ev) \
        /* [cluster] it is known which node has the recipient */ \
    X(mod_global_distrib_unknown_recipient, H, V, 0, gr_stanza_ev) \
        /* [cluster] it is not. STOP: parked */ \
    \
    /* --- offline --- */ \
    X(offline_message, H, V, P, gr_stanza_ev) \
        /* a normal or chat message, the account exists, no session takes it. STOP: taken care \
         * of, else bounced (100) */ \
    X(offline_groupchat_message, H, V, P, gr_stanza_ev) \
        /* the same for type groupchat */ \
    X(sm_filter_offline_message, H, V, 0, gr_stanza_ev) \
        /* a message to a full JID without session, before it goes to others. STOP: dropped */ \
    X(failed_to_store_message, H, A, 0, gr_stanza_ev) \
        /* a message that would have been stored was refused by the recipient's privacy list */ \
    X(resend_offline_messages, H, A, P, gr_session_ev) \
        /* a session's priority became 0 or more: stored messages are due */ \
    \
    /* --- presence and roster --- */ \
    X(presence_probe, H, A, 0, gr_stanza_ev) \
        /* an authorised probe is about to be answered, also a session's own first one */ \
    X(roster_get, H, A, P, gr_roster_ev) \
        /* an account's roster is needed; handlers append to items */ \
    X(roster_get_jid_info, H, A, P, gr_jid_info_ev) \
        /* the subscription between owner and contact is needed */ \
    X(roster_get_subscription_lists, H, A, P, gr_roster_ev) \
        /* who gets a presence, and which requests wait */ \
    X(roster_get_versioning_feature, H, A, 0, gr_features_ev) \
        /* features after login: roster versioning */ \
    X(roster_groups, H, A, 0, gr_names_ev) \
        /* [shared rosters] the names of a host's groups are needed */ \
    X(roster_in_subscription, H, A, P, gr_stanza_ev) \
        /* a subscription stanza arrived for an account; deliver: the client gets it */ \
    X(roster_out_subscription, H, A, P, gr_stanza_ev) \
        /* a user sends a subscription stanza */ \
    X(roster_process_item, H, A, 0, gr_roster_item_ev) \
        /* a roster item was changed; it may still be edited before it is pushed */ \
    X(roster_push, H, N, 0, gr_roster_item_ev) \
        /* an item is pushed to a resource */ \
    X(roster_set, H, N, 0, gr_roster_item_ev) \
        /* a client asked for a change, which is not made yet */ \
    \
    /* --- privacy --- */ \
    X(privacy_check_packet, H, A, 0, gr_privacy_ev) \
        /* does a list allow this stanza? verdict is the answer. list is the one that is asked; a module \
         * that asks on its own account gives owner, peer, stanza and outgoing: whatever is in force \
         * for that resource is asked. Broadcasts ask roster_get_subscription_lists instead */ \
    X(privacy_get_user_list, H, A, P, gr_privacy_ev) \
        /* an account's lists were read: at its first session, or for a stanza when it has none. list is \
         * the default list's name, NULL for none; a handler may choose another one of them */ \
    X(privacy_iq_get, H, A, P, gr_privacy_ev) \
        /* a client (peer) reads its lists (stanza); who knows the namespace sets reply or cond */ \
    X(privacy_iq_set, H, A, P, gr_privacy_ev) \
        /* a client changes its lists; as above. The result is on disk */ \
    X(privacy_list_push, H, N, 0, gr_privacy_ev) \
        /* a list was changed by a session (peer) and is pushed to the account's sessions */ \
    X(privacy_updated_list, H, A, 0, gr_privacy_ev) \
        /* a list that is in force for a session (peer) was changed by another one */ \
    \
    /* --- discovery, commands, capabilities --- */ \
    X(disco_info, H, A, 0, gr_disco_ev) \
        /* forms for disco#info of the host (XEP-0128) */ \
    X(disco_local_features, H, A, 0, gr_disco_ev) \
        /* disco#info of the host: features */ \
    X(disco_local_identity, H, A, 0, gr_disco_ev) \
        /* disco#info of the host: identities */ \
    X(disco_local_items, H, A, 0, gr_disco_ev) \
        /* disco#items of the host */ \
    X(disco_muc_features, H, A, 0, gr_disco_ev) \
        /* [rooms] disco#info of a room or its service */ \
    X(disco_sm_features, H, A, 0, gr_disco_ev) \
        /* disco#info of an account: features */ \
    X(disco_sm_identity, H, A, 0, gr_disco_ev) \
        /* disco#info of an account: identities */ \
    X(disco_sm_items, H, A, 0, gr_disco_ev) \
        /* disco#items of an account */ \
    X(adhoc_local_commands, H, A, P, gr_adhoc_ev) \
        /* a command for the host; the first handler that knows the node \
         * answers */ \
    X(adhoc_sm_commands, H, A, P, gr_adhoc_ev) \
        /* a command for an account */ \
    X(caps_recognised, H, A, 0, gr_caps_ev) \
        /* what a client's hash means has become known; ev.acc may be NULL */ \
    X(get_pep_recipients, H, A, 0, gr_caps_ev) \
        /* [personal eventing] who wants the events of a node */ \
    X(filter_pep_recipient, H, A, 0, gr_caps_ev) \
        /* [personal eventing] does one want them? drop = true: no */ \
    \
    /* --- rooms --- */ \
    X(acc_room_affiliations, H, A, P, gr_room_ev) \
        /* [rooms] the affiliations of a room are needed */ \
    X(can_access_room, H, A, P, gr_room_ev) \
        /* may the user read the room's data? */ \
    X(can_access_identity, H, A, P, gr_room_ev) \
        /* [rooms] may the user see who is behind a nick? */ \
    X(is_muc_room_owner, H, A, P, gr_room_ev) \
        /* [rooms] does the user own the room? */ \
    X(filter_room_packet, H, A, P, gr_room_ev) \
        /* [rooms] a message was accepted by the room, before all get it; may be edited */ \
    X(update_inbox_for_muc, H, A, P, gr_room_ev) \
        /* [rooms] right after it */ \
    X(room_packet, H, N, 0, gr_room_ev) \
        /* [rooms] a message joined the room's history */ \
    X(join_room, H, N, 0, gr_room_ev) \
        /* [rooms] the first session of a nick entered */ \
    X(leave_room, H, N, 0, gr_room_ev) \
        /* [rooms] the last session of a nick left */ \
    X(invitation_sent, H, N, 0, gr_room_ev) \
        /* [rooms] a mediated invitation is about to be routed */ \
    X(room_exists, H, A, P, gr_room_ev) \
        /* [rooms] a light room is addressed */ \
    X(room_new_affiliations, H, A, 0, gr_room_ev) \
        /* [rooms] affiliations changed */ \
    X(forget_room, H, A, P, gr_room_ev) \
        /* [rooms] a room was destroyed; its data is to go */ \
    \
    /* --- archive --- */ \
    X(mam_archive_id, H, A, P, gr_mam_ev) \
        /* the number of an owner's archive is needed */ \
    X(mam_archive_message, H, A, P, gr_mam_ev) \
        /* a message is to be kept */ \
    X(mam_archive_size, H, A, P, gr_mam_ev) \
        /* how many there are */ \
    X(mam_archive_sync, H, A, P, gr_mam_ev) \
        /* wait until everything is written */ \
    X(mam_flush_messages, H, N, 0, gr_mam_ev) \
        /* a batch was written */ \
    X(mam_get_behaviour, H, A, P, gr_mam_ev) \
        /* is this pair to be archived? */ \
    X(mam_get_prefs, H, A, P, gr_mam_ev) \
        /* preferences are read */ \
    X(mam_set_prefs, H, A, P, gr_mam_ev) \
        /* preferences are changed */ \
    X(mam_lookup_messages, H, A, P, gr_mam_ev) \
        /* a page is asked for */ \
    X(mam_remove_archive, H, A, P, gr_mam_ev) \
        /* an owner's archive is to go */ \
    X(mam_retraction, H, A, P, gr_mam_ev) \
        /* a message is retracted, before its tombstone is written */ \
    X(mam_muc_archive_id, H, A, P, gr_mam_ev) \
        /* [rooms' archive] as mam_archive_id, for a room */ \
    X(mam_muc_archive_message, H, A, P, gr_mam_ev) \
        /* [rooms' archive] as mam_archive_message */ \
    X(mam_muc_archive_size, H, A, P, gr_mam_ev) \
        /* [rooms' archive] as mam_archive_size */ \
    X(mam_muc_archive_sync, H, A, P, gr_mam_ev) \
        /* [rooms' archive] as mam_archive_sync */ \
    X(mam_muc_flush_messages, H, N, 0, gr_mam_ev) \
        /* [rooms' archive] as mam_flush_messages */ \
    X(mam_muc_get_behaviour, H, A, P, gr_mam_ev) \
        /* [rooms' archive] as mam_get_behaviour */ \
    X(mam_muc_get_prefs, H, A, P, gr_mam_ev) \
        /* [rooms' archive] as mam_get_prefs */ \
    X(mam_muc_set_prefs, H, A, P, gr_mam_ev) \
        /* [rooms' archive] as mam_set_prefs */ \
    X(mam_muc_lookup_messages, H, A, P, gr_mam_ev) \
        /* [rooms' archive] as mam_lookup_messages */ \
    X(mam_muc_remove_archive, H, A, P, gr_mam_ev) \
        /* [rooms' archive] as mam_remove_archive */ \
    X(mam_muc_retraction, H, A, P, gr_mam_ev) \
        /* [rooms' archive] as mam_retraction */ \
    \
    /* --- message processing, inbox, push, keys, personal data --- */ \
    X(amp_verify_support, H, A, 0, gr_amp_ev) \
        /* a message with rules enters: which are supported? */ \
    X(amp_determine_strategy, H, A, P, gr_amp_ev) \
        /* what would happen to it? */ \
    X(amp_check_condition, H, A, 0, gr_amp_ev) \
        /* does a rule match that? */ \
    X(extend_inbox_result, H, A, 0, gr_inbox_ev) \
        /* an entry of an inbox query is about to be sent; may be edited */ \
    X(inbox_unread_count, H, A, P, gr_inbox_ev) \
        /* a push needs the number of unread messages: unread starts as the number of those pushed \
         * since the account was last online */ \
    X(push_event, H, V, 0, gr_event_ev) \
        /* a message was sent, came or waits for its client, or a client came or went: for whoever \
         * tells the outside. STOP: mod_event_pusher's own back ends do not */ \
    X(push_notifications, H, A, P, gr_push_ev) \
        /* one notification for one device, whose app server is a virtual host: nobody else sends it */ \
    X(get_key, H, A, 0, gr_key_ev) \
        /* a module needs a secret key by name */ \
    X(set_vcard, H, A, P, gr_vcard_ev) \
        /* the server wants to store a vCard */ \
    X(vcard_set, H, N, 0, gr_vcard_ev) \
        /* a vCard was stored */ \
    X(get_personal_data, H, A, P, gr_export_ev) \
        /* everything that is kept about an account is to be exported */ \
    X(get_mam_pm_gdpr_data, H, A, P, gr_export_ev) \
        /* the part of the archive */ \
    X(get_mam_muc_gdpr_data, H, A, P, gr_export_ev) \
        /* [rooms' archive] the part of the rooms' archive */
