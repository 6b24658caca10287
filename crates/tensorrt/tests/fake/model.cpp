// The arithmetic of the FAKE TensorRT: one step of a "language model" over host memory.
//
// The keys and values of a token are small whole numbers made of its id, its position, the layer, the
// head and the place in the head. The state after a token is a weighted sum over everything the cache
// holds before it, read back from memory, and the logits are made of the state. So a key that is
// missing, in the wrong slot, layer, head or place changes every logit after it. tests/fake/reference.rs
// says the same without a cache.

#include "fake.h"

#include <cmath>
#include <cstring>

namespace fake {

namespace {

using nvinfer1::DataType;

constexpr uint64_t kStateModulus = 1000003;

uint64_t key_of(uint64_t token, uint64_t position, uint64_t layer, uint64_t head, uint64_t place) {
    return (token * 31 + position * 17 + layer * 7 + head * 5 + place * 3) % 97;
}

uint64_t value_of(uint64_t token, uint64_t position, uint64_t layer, uint64_t head, uint64_t place) {
    return (token * 13 + position * 29 + layer * 11 + head * 3 + place * 5) % 89;
}

uint64_t weight_of(uint64_t layer, uint64_t head, uint64_t place) { return 1 + (layer * 131 + head * 17 + place * 3) % 61; }

float logit_of(uint64_t state, uint64_t token, uint64_t entry) {
    return static_cast<float>((state % 65521 * (entry * 7 + 3) + token * 11 + entry * entry) % 1009) / 16.0F;
}

// A tensor where it lies, with its shape.
struct View {
    char* data;
    DataType type;
    std::vector<int64_t> shape;

    double read(size_t index) const {
        switch (type) {
        case DataType::kFLOAT: return get<float>(index);
        case DataType::kHALF: return static_cast<double>(get<_Float16>(index));
        case DataType::kINT32: return get<int32_t>(index);
#if NV_TENSORRT_MAJOR >= 10
        case DataType::kINT64: return static_cast<double>(get<int64_t>(index));
#endif
        default: throw std::runtime_error("the fake cannot read this type");
        }
    }

    void write(size_t index, double value) const {
        switch (type) {
        case DataType::kFLOAT: return put(index, static_cast<float>(value));
        case DataType::kHALF: return put(index, static_cast<_Float16>(value));
        default: throw std::runtime_error("the fake cannot write this type");
        }
    }

private:
    template <typename T>
    T get(size_t index) const {
        T value;
        std::memcpy(&value, data + index * sizeof(T), sizeof(T));
        return value;
    }

    template <typename T>
    void put(size_t index, T value) const {
        std::memcpy(data + index * sizeof(T), &value, sizeof(T));
    }
};

class Step {
public:
    Step(Plan const& plan, Bindings const& bindings) : plan_(plan), bindings_(bindings) {
        ids_ = view("token_ids");
        positions_ = view("positions");
        past_ = view("past_lengths");
        at_ = view("logits_at");
        logits_ = view("logits");
        while (plan.find("past_key_" + std::to_string(keys_.size())) != nullptr) {
            std::string const layer = std::to_string(keys_.size());
            keys_.push_back(view("past_key_" + layer));
            values_.push_back(view("past_value_" + layer));
            new_keys_.push_back(view("new_key_" + layer));
            new_values_.push_back(view("new_value_" + layer));
        }
        if (keys_.empty()) throw std::runtime_error("the graph has no past_key_0");
        batch_ = size(ids_, 0), tokens_ = size(ids_, 1), vocab_ = size(logits_, 2);
        heads_ = size(keys_[0], 1), context_ = size(keys_[0], 2), places_ = size(keys_[0], 3);
    }

    void run() const {
        for (size_t row = 0; row < batch_; ++row) run_row(row);
    }

private:
    View view(std::string const& name) const {
        Tensor const* tensor = plan_.find(name);
        if (tensor == nullptr) throw std::runtime_error("the graph has no " + name);
        return View{static_cast<char*>(bindings_.addresses.at(name)), tensor->type, bindings_.shapes.at(name)};
    }

    static size_t size(View const& view, size_t axis) {
        if (axis >= view.shape.size()) throw std::runtime_error("a tensor has fewer dimensions than the fake's graph");
        return static_cast<size_t>(view.shape[axis]);
    }

    static uint64_t whole(View const& view, size_t index, uint64_t limit, char const* what) {
        double const value = view.read(index);
        if (!(value >= 0) || value >= static_cast<double>(limit)) {
            throw std::runtime_error(std::string(what) + " " + std::to_string(value) + " of " + std::to_string(limit));
        }
        return static_cast<uint64_t>(value);
    }

    void run_row(size_t row) const {
        uint64_t const past = whole(past_, row, context_ + 1, "past length");
        uint64_t state = 0;
        for (uint64_t slot = 0; slot < past; ++slot) add(state, slot, cached(row, slot));
        std::vector<uint64_t> states(tokens_);
        for (size_t token = 0; token < tokens_; ++token) {
            add(state, past + token, fresh(row, token));
            states[token] = state;
        }
        size_t const rows = size(at_, 1);
        for (size_t wanted = 0; wanted < rows; ++wanted) {
            uint64_t const token = whole(at_, row * rows + wanted, tokens_, "logits_at");
            uint64_t const id = whole(ids_, row * tokens_ + token, vocab_, "token");
            for (size_t entry = 0; entry < vocab_; ++entry) {
                logits_.write((row * rows + wanted) * vocab_ + entry, logit_of(states[token], id, entry));
            }
        }
    }

    static void add(uint64_t& state, uint64_t place_in_sequence, uint64_t part) {
        state = (state + (place_in_sequence + 1) * part) % kStateModulus;
    }

    // What the cache holds of one token, whatever that is.
    uint64_t cached(size_t row, uint64_t slot) const {
        uint64_t sum = 0;
        each_place([&](size_t layer, size_t head, size_t place) {
            size_t const index = ((row * heads_ + head) * context_ + slot) * places_ + place;
            sum += weight_of(layer, head, place) * (taken(keys_[layer], index) + 2 * taken(values_[layer], index));
        });
        return sum;
    }

    // What a new token is; written to the outputs too.
    uint64_t fresh(size_t row, size_t token) const {
        uint64_t const id = whole(ids_, row * tokens_ + token, vocab_, "token");
        // Padding counts on beyond the end of the cache.
        uint64_t const position = whole(positions_, row * tokens_ + token, context_ + tokens_, "position");
        uint64_t sum = 0;
        each_place([&](size_t layer, size_t head, size_t place) {
            size_t const index = ((row * heads_ + head) * tokens_ + token) * places_ + place;
            uint64_t const key = key_of(id, position, layer, head, place);
            uint64_t const value = value_of(id, position, layer, head, place);
            new_keys_[layer].write(index, static_cast<double>(key));
            new_values_[layer].write(index, static_cast<double>(value));
            sum += weight_of(layer, head, place) * (key + 2 * value);
        });
        return sum;
    }

    // Foreign memory is not a small whole number; it must change the sum and must not be undefined.
    static uint64_t taken(View const& view, size_t index) {
        double const value = view.read(index);
        return value >= 0 && value < 128 ? static_cast<uint64_t>(value) : 4099;
    }

    template <typename Visit>
    void each_place(Visit&& visit) const {
        for (size_t layer = 0; layer < keys_.size(); ++layer) {
            for (size_t head = 0; head < heads_; ++head) {
                for (size_t place = 0; place < places_; ++place) visit(layer, head, place);
            }
        }
    }

    Plan const& plan_;
    Bindings const& bindings_;
    View ids_, positions_, past_, at_, logits_;
    std::vector<View> keys_, values_, new_keys_, new_values_;
    size_t batch_, tokens_, vocab_, heads_, context_, places_;
};

}  // namespace

void run_model(Plan const& plan, Bindings const& bindings) { Step(plan, bindings).run(); }

}  // namespace fake
