//! Checks of options without a broker, so that a mistake is found before anything is opened.

use rdkafka::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use rdkafka::producer::BaseProducer;

use super::client::{ClientError, LoggingContext, config_error, consumer_config};
use super::deliveries::Deliveries;
use super::sink::producer_config;
use super::{Address, KafkaOptions};
use crate::OpenError;

/// Why librdkafka does not accept an option; `None` if it does. A value other than a number is not repeated: it may be a secret.
pub fn wrong_option(name: &str, value: &str) -> Option<String> {
    #[allow(clippy::disallowed_methods, reason = "it is not used for a client")]
    let mut config = ClientConfig::new();
    config.set(name, value);
    match config.create_native_config() {
        Ok(_) => None,
        Err(KafkaError::ClientConfig(_, what, _, _)) if what.starts_with("No such") => {
            Some("an option that librdkafka knows".into())
        }
        Err(KafkaError::ClientConfig(_, what, _, _)) => {
            let what = what.trim().to_owned();
            let is_harmless = value.parse::<i64>().is_ok() && !schema::is_secret_name(name);
            let shown = if value.is_empty() || is_harmless { what } else { what.replace(value, "(hidden)") };
            Some(format!("a value that librdkafka accepts ({shown})"))
        }
        Err(error) => Some(format!("a value that librdkafka accepts ({error})")),
    }
}

/// Checks that the options fit together, and that secrets and files that they name can be read.
pub fn check_options(options: &KafkaOptions) -> Result<(), OpenError> {
    let address = Address { brokers: String::new(), topic: "none".into() };
    let wrong =
        |ClientError { what, advice }| OpenError::Option { input: "[kafka]".into(), what: format!("{what}; {advice}") };
    for config in [consumer_config(&address, options, &options.group), producer_config(&address, options)] {
        let mut config = config.map_err(wrong)?;
        // Without brokers a client makes no connection.
        config.remove("bootstrap.servers");
        let consumer = config.get("group.id").is_some();
        let created: Result<(), KafkaError> = if consumer {
            config.create_with_context(LoggingContext::default()).map(|_: BaseConsumer<LoggingContext>| ())
        } else {
            config.create_with_context(Deliveries::new(&address.topic)).map(|_: BaseProducer<Deliveries>| ())
        };
        created.map_err(|error| wrong(config_error(&error)))?;
    }
    Ok(())
}
