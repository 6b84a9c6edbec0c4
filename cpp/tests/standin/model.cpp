#include "model.hpp"

#include <cstdlib>

namespace standin {

std::string numbered(std::int64_t id, const std::string& name) { return std::to_string(id) + "_" + name; }

std::string environment(const char* name, const std::string& otherwise) {
    const auto* value = std::getenv(name);
    return value == nullptr || *value == '\0' ? otherwise : value;
}

Model::Model(int id, std::string name, std::string layer_name, int flow)
    : id_{id}, name_{std::move(name)}, layer_name_{std::move(layer_name)}, flow_{flow} {}

Place Model::place_of(int layer, const std::string& runner, int node) const {
    Place place{{id_}, numbered(id_, name_), name_};
    if (layer >= 0) {
        place.ids.push_back(layer);
        place.path += "/" + numbered(layer, layer_name_);
        place.name = layer_name_;
    }
    if (layer >= 0 && node >= 0) {
        place.ids.push_back(node);
        place.path += "/" + numbered(node, runner);
        place.name = runner;
    }
    return place;
}

Model::Entry& Model::add(int layer, const std::string& runner, int node, int inputs) {
    auto& entry = entries_[{layer, node}];
    entry = {make_operation(place_of(layer, runner, node), flow_), inputs};
    return entry;
}

Model::Entry& Model::find(int layer, const std::string& runner, int node) {
    const auto found = entries_.find({layer, node});
    return found == entries_.end() ? add(layer, runner, node, 1) : found->second;
}

}  // namespace standin
