//! The id of a topic, which differs after a topic was deleted and created again.
//!
//! The binding has no safe function for `DescribeTopics`, so this module calls librdkafka itself.

#![allow(unsafe_code, reason = "the binding has no safe function for it")]

use std::ffi::CString;
use std::ptr::null_mut;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::bindings as native;
use rdkafka::client::Client;

/// The id of a topic. `None`: the broker has no ids (before 2.8), does not answer in time, or has no such topic.
pub(super) fn topic_id<C: ClientContext>(client: &Client<C>, topic: &str, timeout: Duration) -> Option<String> {
    // Any broker knows it. Without one, the request goes to the controller, which a mock cluster does not have.
    let broker = client.fetch_metadata(Some(topic), timeout).ok()?.brokers().first()?.id();
    let name = CString::new(topic).ok()?;
    let mut names = [name.as_ptr()];
    let timeout = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: The client lives during the call. librdkafka copies the name and the options. Everything that is created here is
    // destroyed here, the event after the last use of what it contains, and the queue after its event.
    unsafe {
        let client = client.native_ptr();
        let options =
            native::rd_kafka_AdminOptions_new(client, native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        native::rd_kafka_AdminOptions_set_request_timeout(options, timeout, null_mut(), 0);
        native::rd_kafka_AdminOptions_set_broker(options, broker, null_mut(), 0);
        let topics = native::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        let queue = native::rd_kafka_queue_new(client);
        native::rd_kafka_DescribeTopics(client, topics, options, queue);
        let event = native::rd_kafka_queue_poll(queue, timeout);
        let id = read_id(event);
        // Each accepts null, or was created above.
        native::rd_kafka_event_destroy(event);
        native::rd_kafka_queue_destroy(queue);
        native::rd_kafka_TopicCollection_destroy(topics);
        native::rd_kafka_AdminOptions_destroy(options);
        id
    }
}

/// Reads the id in the answer of `DescribeTopics` for one topic.
///
/// # Safety
///
/// `event` is null or a valid event.
unsafe fn read_id(event: *mut native::rd_kafka_event_t) -> Option<String> {
    // SAFETY: Each pointer is checked before its use, and belongs to the event.
    unsafe {
        if event.is_null() {
            return None;
        }
        let result = native::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return None;
        }
        let mut count = 0;
        let topics = native::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if topics.is_null() || count == 0 {
            return None;
        }
        let error = native::rd_kafka_TopicDescription_error(*topics);
        if native::rd_kafka_error_code(error) != native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        let id = native::rd_kafka_TopicDescription_topic_id(*topics);
        if id.is_null() {
            return None;
        }
        let high = native::rd_kafka_Uuid_most_significant_bits(id);
        let low = native::rd_kafka_Uuid_least_significant_bits(id);
        // Brokers without ids send zeros.
        ((high, low) != (0, 0)).then(|| format!("{high:016x}{low:016x}"))
    }
}
