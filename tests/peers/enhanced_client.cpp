// Calls a ROS 2 service as rmw_fastrtps does, with Fast DDS 2.x and nothing of ROS.
//
//   enhanced_client DOMAIN SERVICE TYPE TIMEOUT_S ARGUMENT...
//
// The request is one of
//   std_srvs/srv/Trigger                  one call for each argument, which is ignored
//   hymt_ros/srv/Translate                one call; an argument `to=LOCALE` is a target, the
//                                         others are texts
//   rcl_interfaces/srv/ListParameters     one call; all but the first argument
//                                         are prefixes
//   rcl_interfaces/srv/GetParameters      one call with the arguments as names
//   rcl_interfaces/srv/SetParameters      NAME VALUE: one call that sets a string
// Each reply is printed as one line of JSON. The status is 0 when every reply came.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include <fastcdr/Cdr.h>
#include <fastcdr/FastBuffer.h>
#include <fastdds/dds/domain/DomainParticipant.hpp>
#include <fastdds/dds/domain/DomainParticipantFactory.hpp>
#include <fastdds/dds/publisher/DataWriter.hpp>
#include <fastdds/dds/publisher/Publisher.hpp>
#include <fastdds/dds/subscriber/DataReader.hpp>
#include <fastdds/dds/subscriber/SampleInfo.hpp>
#include <fastdds/dds/subscriber/Subscriber.hpp>
#include <fastdds/dds/topic/TopicDataType.hpp>
#include <fastdds/rtps/common/WriteParams.h>
#include <fastdds/rtps/transport/UDPv4TransportDescriptor.h>
#include <fastrtps/utils/IPLocator.h>

using namespace eprosima::fastdds::dds;
using eprosima::fastcdr::Cdr;
using eprosima::fastcdr::FastBuffer;
namespace rtps = eprosima::fastrtps::rtps;

namespace {

using Octets = std::vector<char>;

// A payload as it travels, with its four octets of encapsulation.
class RawType : public TopicDataType {
public:
  explicit RawType(const std::string& name) {
    setName(name.c_str());
    m_typeSize = 8u << 20;
    m_isGetKeyDefined = false;
  }
  bool serialize(void* data, rtps::SerializedPayload_t* payload) override {
    const auto& octets = *static_cast<Octets*>(data);
    if (octets.size() > payload->max_size) return false;
    std::copy(octets.begin(), octets.end(), reinterpret_cast<char*>(payload->data));
    payload->length = static_cast<uint32_t>(octets.size());
    payload->encapsulation = CDR_LE;
    return true;
  }
  bool deserialize(rtps::SerializedPayload_t* payload, void* data) override {
    auto from = reinterpret_cast<char*>(payload->data);
    static_cast<Octets*>(data)->assign(from, from + payload->length);
    return true;
  }
  std::function<uint32_t()> getSerializedSizeProvider(void* data) override {
    auto size = static_cast<uint32_t>(static_cast<Octets*>(data)->size());
    return [size] { return size; };
  }
  void* createData() override { return new Octets; }
  void deleteData(void* data) override { delete static_cast<Octets*>(data); }
  bool getKey(void*, rtps::InstanceHandle_t*, bool) override { return false; }
};

// pkg/srv/Name and a half become pkg::srv::dds_::Name_Half_.
std::string dds_type(std::string type, const std::string& half) {
  auto slash = type.rfind('/');
  auto name = type.substr(slash + 1);
  auto scope = type.substr(0, slash);
  scope.replace(scope.find('/'), 1, "::");
  return scope + "::dds_::" + name + half;
}

std::string json_text(const std::string& text) {
  std::string out = "\"";
  for (unsigned char octet : text) {
    char escape[8];
    std::snprintf(escape, sizeof escape, "\\u%04x", octet);
    if (octet == '"' || octet == '\\') (out += '\\') += static_cast<char>(octet);
    else if (octet < 0x20) out += escape;
    else out += static_cast<char>(octet);
  }
  return out + "\"";
}

Octets encode(const std::function<void(Cdr&)>& write) {
  FastBuffer buffer;
  Cdr cdr(buffer, Cdr::LITTLE_ENDIANNESS, Cdr::DDS_CDR);
  cdr.serialize_encapsulation();
  write(cdr);
  return Octets(buffer.getBuffer(), buffer.getBuffer() + cdr.getSerializedDataLength());
}

// An rcl_interfaces/ParameterValue that holds a string.
void write_string_value(Cdr& cdr, const std::string& text) {
  cdr << uint8_t{4} << false << int64_t{0} << 0.0 << text;
  for (int array = 0; array < 5; ++array) cdr << uint32_t{0};
}

Octets request_of(const std::string& type, const std::vector<std::string>& arguments) {
  return encode([&](Cdr& cdr) {
    if (type == "std_srvs/srv/Trigger") {
      cdr << uint8_t{0};
    } else if (type == "hymt_ros/srv/Translate") {
      std::vector<std::string> texts, targets;
      const std::vector<std::string> none;
      for (const auto& argument : arguments) {
        if (argument.rfind("to=", 0) == 0) targets.push_back(argument.substr(3));
        else texts.push_back(argument);
      }
      cdr << texts << std::string() << targets << std::string() << none << std::string();
      cdr << uint8_t{0} << uint8_t{128} << 0.0f;
    } else if (type == "rcl_interfaces/srv/GetParameters") {
      cdr << arguments;
    } else if (type == "rcl_interfaces/srv/ListParameters") {
      cdr << std::vector<std::string>(arguments.begin() + 1, arguments.end()) << uint64_t{0};
    } else if (type == "rcl_interfaces/srv/SetParameters" && arguments.size() == 2) {
      cdr << uint32_t{1} << arguments[0];
      write_string_value(cdr, arguments[1]);
    } else {
      std::cerr << "cannot ask " << type << "\n";
      std::exit(2);
    }
  });
}

// A hymt_ros/msg/Translation, of which the fields that a caller cares for are shown.
std::string read_translation(Cdr& cdr) {
  int32_t seconds = 0;
  uint32_t nanoseconds = 0, revision = 0, stable = 0, tokens_in = 0, tokens_out = 0;
  uint64_t utterance = 0;
  bool final = false, cached = false;
  float confidence = 0, queue_ms = 0, inference_ms = 0, total_ms = 0;
  uint8_t status = 0;
  std::string frame, speaker, source, source_locale, target_locale, text, detail;
  std::vector<std::string> applied, missed;
  cdr >> seconds >> nanoseconds >> frame >> speaker >> utterance >> revision >> final;
  cdr >> source >> source_locale >> confidence >> target_locale >> text >> stable >> status;
  cdr >> detail >> applied >> missed >> cached >> queue_ms >> inference_ms >> total_ms;
  cdr >> tokens_in >> tokens_out;
  return "{\"source_text\":" + json_text(source) + ",\"target_locale\":" +
         json_text(target_locale) + ",\"text\":" + json_text(text) +
         ",\"status\":" + std::to_string(status) + ",\"detail\":" + json_text(detail) +
         ",\"tokens_out\":" + std::to_string(tokens_out) + "}";
}

std::string json_of(const std::string& type, Octets octets) {
  FastBuffer buffer(octets.data(), octets.size());
  Cdr cdr(buffer, Cdr::DEFAULT_ENDIAN, Cdr::DDS_CDR);
  cdr.read_encapsulation();
  bool success = false;
  std::string text;
  if (type == "std_srvs/srv/Trigger") {
    cdr >> success >> text;
    return std::string("{\"success\":") + (success ? "true" : "false") +
           ",\"message_octets\":" + std::to_string(text.size()) +
           ",\"message\":" + json_text(text.substr(0, 200)) + "}";
  }
  if (type == "hymt_ros/srv/Translate") {
    uint8_t code = 0;
    uint32_t count = 0;
    cdr >> success >> code >> text >> count;
    std::string results;
    for (uint32_t result = 0; result < count; ++result) {
      results += (result ? "," : "") + read_translation(cdr);
    }
    return std::string("{\"success\":") + (success ? "true" : "false") +
           ",\"code\":" + std::to_string(code) + ",\"message\":" + json_text(text) +
           ",\"results\":[" + results + "]}";
  }
  if (type == "rcl_interfaces/srv/ListParameters") {
    std::vector<std::string> names;
    cdr >> names;
    std::string out;
    for (const auto& name : names) out += (out.empty() ? "" : ",") + json_text(name);
    return "{\"names\":[" + out + "]}";
  }
  uint32_t count = 0;
  cdr >> count;
  std::string out = "{\"count\":" + std::to_string(count);
  if (type == "rcl_interfaces/srv/GetParameters" && count > 0) {
    uint8_t kind = 0;
    bool truth = false;
    int64_t integer = 0;
    double real = 0;
    cdr >> kind >> truth >> integer >> real >> text;
    out += ",\"type\":" + std::to_string(kind) + ",\"string\":" + json_text(text);
  } else if (type == "rcl_interfaces/srv/SetParameters" && count > 0) {
    cdr >> success >> text;
    out += std::string(",\"successful\":") + (success ? "true" : "false") +
           ",\"reason\":" + json_text(text);
  }
  return out + "}";
}

DomainParticipant* join(uint32_t domain) {
  DomainParticipantQos qos = PARTICIPANT_QOS_DEFAULT;
  // Loopback only, so that no other machine takes part.
  auto udp = std::make_shared<eprosima::fastdds::rtps::UDPv4TransportDescriptor>();
  udp->interfaceWhiteList.push_back("127.0.0.1");
  qos.transport().use_builtin_transports = false;
  qos.transport().user_transports.push_back(udp);
  rtps::Locator_t peer;
  rtps::IPLocator::setIPv4(peer, "127.0.0.1");
  qos.wire_protocol().builtin.initialPeersList.push_back(peer);
  return DomainParticipantFactory::get_instance()->create_participant(domain, qos);
}

template <typename Done>
bool wait(double seconds, Done done) {
  auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(500));
  }
  return true;
}

template <typename Entity, typename Status>
int matched(Entity* entity, ReturnCode_t (Entity::*status_of)(Status&) const) {
  Status status;
  (entity->*status_of)(status);
  return status.current_count;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) {
    std::cerr << "usage: " << argv[0] << " DOMAIN SERVICE TYPE TIMEOUT_S ARGUMENT...\n";
    return 2;
  }
  const std::string service = argv[2], type = argv[3];
  const double timeout = std::atof(argv[4]);
  const std::vector<std::string> arguments(argv + 5, argv + argc);

  auto* participant = join(static_cast<uint32_t>(std::atoi(argv[1])));
  TypeSupport request_type(new RawType(dds_type(type, "_Request_")));
  TypeSupport reply_type(new RawType(dds_type(type, "_Response_")));
  request_type.register_type(participant);
  reply_type.register_type(participant);
  auto* requests = participant->create_topic(
      "rq" + service + "Request", request_type.get_type_name(), TOPIC_QOS_DEFAULT);
  auto* replies = participant->create_topic(
      "rr" + service + "Reply", reply_type.get_type_name(), TOPIC_QOS_DEFAULT);

  DataWriterQos writer_qos = DATAWRITER_QOS_DEFAULT;
  writer_qos.reliability().kind = RELIABLE_RELIABILITY_QOS;
  writer_qos.durability().kind = VOLATILE_DURABILITY_QOS;
  writer_qos.history().depth = 10;
  writer_qos.endpoint().history_memory_policy = rtps::DYNAMIC_RESERVE_MEMORY_MODE;
  DataReaderQos reader_qos = DATAREADER_QOS_DEFAULT;
  reader_qos.reliability().kind = RELIABLE_RELIABILITY_QOS;
  reader_qos.history().depth = 10;
  reader_qos.endpoint().history_memory_policy = rtps::DYNAMIC_RESERVE_MEMORY_MODE;
  auto* writer = participant->create_publisher(PUBLISHER_QOS_DEFAULT)
                     ->create_datawriter(requests, writer_qos);
  auto* reader = participant->create_subscriber(SUBSCRIBER_QOS_DEFAULT)
                     ->create_datareader(replies, reader_qos);
  const bool found = wait(timeout, [&] {
    return matched<DataWriter, PublicationMatchedStatus>(
               writer, &DataWriter::get_publication_matched_status) > 0 &&
           matched<DataReader, SubscriptionMatchedStatus>(
               reader, &DataReader::get_subscription_matched_status) > 0;
  });
  if (!found) {
    std::cerr << "no server of " << service << "\n";
    return 1;
  }

  // That we have found the server does not say that it has found us.
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const size_t calls = type == "std_srvs/srv/Trigger" ? arguments.size() : 1;
  for (size_t call = 0; call < calls; ++call) {
    Octets request = request_of(type, arguments);
    rtps::WriteParams params;
    // rmw_fastrtps names its reply reader here and leaves the number unknown.
    params.related_sample_identity().writer_guid() = reader->guid();
    auto start = std::chrono::steady_clock::now();
    writer->write(&request, params);
    const auto number = params.sample_identity().sequence_number();
    Octets reply;
    const bool answered = wait(timeout, [&] {
      SampleInfo info;
      while (reader->take_next_sample(&reply, &info) == ReturnCode_t::RETCODE_OK) {
        if (info.valid_data && info.related_sample_identity.writer_guid() == reader->guid() &&
            info.related_sample_identity.sequence_number() == number) {
          return true;
        }
      }
      return false;
    });
    if (!answered) {
      std::cerr << "no answer to request " << call + 1 << " of " << service << "\n";
      return 1;
    }
    std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - start;
    std::cout << "{\"response\":" << json_of(type, reply) << ",\"after_ms\":" << elapsed.count()
              << "}" << std::endl;
  }
  participant->delete_contained_entities();
  DomainParticipantFactory::get_instance()->delete_participant(participant);
  return 0;
}
