//! Where the simulated hospital sends to: `mllp://host:port`, `kafka://host:port/topic`,
//! `amqp://user:password@host:port/vhost#queue`, `http://host:port/fhir` (as FHIR Bundles) or a file.

use std::path::PathBuf;
use std::str::FromStr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Mllp { address: String },
    Kafka { brokers: String, topic: String },
    Amqp { url: String, queue: String },
    Fhir { url: String },
    File(PathBuf),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        match text.split_once("://") {
            Some(("mllp", address)) if address.contains(':') => {
                Ok(Target::Mllp { address: address.to_owned() })
            }
            Some(("mllp", _)) => Err("give a port: mllp://127.0.0.1:2575".into()),
            Some(("kafka", rest)) => match rest.split_once('/') {
                Some((brokers, topic)) if !topic.is_empty() => {
                    Ok(Target::Kafka { brokers: brokers.to_owned(), topic: topic.to_owned() })
                }
                _ => Err("give a topic: kafka://127.0.0.1:9092/adt".into()),
            },
            Some(("amqp" | "amqps", _)) => match text.split_once('#') {
                Some((url, queue)) if !queue.is_empty() => {
                    Ok(Target::Amqp { url: url.to_owned(), queue: queue.to_owned() })
                }
                _ => Err("give a queue: amqp://guest:guest@127.0.0.1:5672/%2f#adt".into()),
            },
            Some(("http" | "https", _)) => Ok(Target::Fhir { url: text.to_owned() }),
            Some((scheme, _)) => Err(format!("{scheme}:// is none of mllp, kafka, amqp, amqps, http, https")),
            None => Ok(Target::File(PathBuf::from(text))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_and_mistakes_named() {
        let file = |name: &str| Target::File(PathBuf::from(name));
        assert_eq!("out.hl7".parse(), Ok(file("out.hl7")));
        assert_eq!("mllp://h:1".parse(), Ok(Target::Mllp { address: "h:1".into() }));
        let kafka = Target::Kafka { brokers: "h:1,i:1".into(), topic: "t".into() };
        assert_eq!("kafka://h:1,i:1/t".parse(), Ok(kafka));
        let amqp = Target::Amqp { url: "amqp://u:p@h:1/%2f".into(), queue: "q".into() };
        assert_eq!("amqp://u:p@h:1/%2f#q".parse(), Ok(amqp));
        for wrong in ["mllp://h", "kafka://h:1", "amqp://h:1/%2f", "ftp://h"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }
}
