//! Our CDR against the middleware's: every wire struct, with every field filled, goes through the
//! C struct of its installed interface and must come out the same to the octet.

use serde::de::{self, DeserializeSeed, SeqAccess, Visitor};

use super::super::types::MessageType;
use super::*;
use crate::ros::wire::{Message, Service, action, common, diagnostic, hymt, lifecycle, rcl};

fn check<M: Message + PartialEq + std::fmt::Debug>() {
    let message: M = M::deserialize(Filler { next: &mut 0 }).unwrap();
    let ours = SerializedMessage::encode(&message).unwrap();
    let kind = MessageType::find(M::ROS_TYPE).unwrap_or_else(|error| panic!("{error}"));
    let native = NativeMessage::from_bytes(kind, &ours)
        .unwrap_or_else(|error| panic!("{}: {error}", M::ROS_TYPE));
    let theirs = native.to_bytes().unwrap();
    assert_eq!(theirs.decode::<M>().unwrap(), message, "{}", M::ROS_TYPE);
    // Some middlewares pad the end to four octets.
    let (theirs, ours) = (theirs.body.as_ref(), ours.body.as_ref());
    assert!(theirs.starts_with(ours) && theirs.len() < ours.len() + 4, "{}", M::ROS_TYPE);
}

fn check_service<S: Service>()
where
    S::Request: PartialEq + std::fmt::Debug,
    S::Response: PartialEq + std::fmt::Debug,
{
    check::<S::Request>();
    check::<S::Response>();
}

#[test]
fn every_message_passes_through_its_installed_interface() {
    check::<common::Header>();
    check::<common::StringMsg>();
    check::<common::BoolMsg>();
    check::<common::Clock>();
    check::<rcl::Log>();
    check::<rcl::ParameterEvent>();
    check::<diagnostic::DiagnosticArray>();
    check::<lifecycle::TransitionEvent>();
    check::<hymt::Translation>();
    check::<hymt::Status>();
    check::<action::GoalStatusArray>();
    check::<action::FeedbackMessage>();
}

#[test]
fn every_service_passes_through_its_installed_interface() {
    check_service::<common::Trigger>();
    check_service::<hymt::Translate>();
    check_service::<hymt::ListLanguages>();
    check_service::<hymt::SetGlossary>();
    check_service::<hymt::ListGlossaries>();
    check_service::<rcl::DescribeParameters>();
    check_service::<rcl::GetParameters>();
    check_service::<rcl::GetParameterTypes>();
    check_service::<rcl::ListParameters>();
    check_service::<rcl::SetParameters>();
    check_service::<rcl::SetParametersAtomically>();
    check_service::<lifecycle::ChangeState>();
    check_service::<lifecycle::GetState>();
    check_service::<lifecycle::GetAvailableStates>();
    check_service::<lifecycle::GetAvailableTransitions>();
    check_service::<action::TranslateTextSendGoal>();
    check_service::<action::TranslateTextGetResult>();
    check_service::<action::CancelGoal>();
}

#[test]
fn a_message_that_is_cut_short_is_an_error() {
    let kind = MessageType::find("std_msgs/msg/Header").unwrap();
    let mut cut = SerializedMessage::encode(&common::Header::default()).unwrap();
    cut.body.truncate(6);
    let error = NativeMessage::from_bytes(kind, &cut).err().unwrap().to_string();
    assert!(error.contains("rmw_deserialize"), "{error}");
}

/// Gives every field a value of its own: numbers and texts that count up, sequences of two.
struct Filler<'a> {
    next: &'a mut u8,
}

impl Filler<'_> {
    fn count(&mut self) -> u8 {
        *self.next = self.next.wrapping_add(1);
        *self.next
    }
}

macro_rules! number {
    ($($method:ident => $visit:ident),*) => {
        $(fn $method<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Self::Error> {
            visitor.$visit(self.count().into())
        })*
    };
}

impl<'de> de::Deserializer<'de> for Filler<'_> {
    type Error = de::value::Error;

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_bool(true)
    }

    fn deserialize_i8<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_i8(i8::try_from(self.count() / 2).unwrap())
    }

    number!(
        deserialize_u8 => visit_u8, deserialize_u16 => visit_u16, deserialize_u32 => visit_u32,
        deserialize_u64 => visit_u64, deserialize_i16 => visit_i16, deserialize_i32 => visit_i32,
        deserialize_i64 => visit_i64, deserialize_f32 => visit_f32, deserialize_f64 => visit_f64
    );

    fn deserialize_string<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_string(format!("é{}", self.count()))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_seq(Fields { next: self.next, left: 2 })
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_seq(Fields { next: self.next, left: len })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_seq(Fields { next: self.next, left: fields.len() })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(de::Error::custom("no wire struct has such a field"))
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char str bytes byte_buf option unit unit_struct tuple_struct map enum identifier
        ignored_any
    }
}

struct Fields<'a> {
    next: &'a mut u8,
    left: usize,
}

impl<'de> SeqAccess<'de> for Fields<'_> {
    type Error = de::value::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Self::Error> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(Filler { next: self.next }).map(Some)
    }
}
