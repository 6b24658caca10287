"""A ROS 2 peer for the launch tests."""

import time

import rclpy
from rcl_interfaces.srv import GetParameters

# Discovery on a loaded machine; a good run needs a second or two.
PATIENCE_S = 60.0


class Peer:
    """A node that calls services and hears topics, with patience."""

    def __init__(self, name):
        rclpy.init()
        self.node = rclpy.create_node(name)

    def close(self):
        self.node.destroy_node()
        rclpy.shutdown()

    def wait(self, condition, what):
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, f'{what}: not within {PATIENCE_S} s'
            rclpy.spin_once(self.node, timeout_sec=0.05)

    def call(self, kind, name, request):
        """Call a service; asks again, since a first reply can be lost during discovery."""
        client = self.node.create_client(kind, name)
        self.wait(client.service_is_ready, f'service {name}')
        for _ in range(5):
            future = client.call_async(request)
            rclpy.spin_until_future_complete(self.node, future, timeout_sec=15.0)
            if future.done():
                self.node.destroy_client(client)
                return future.result()
        raise AssertionError(f'{name} does not answer')

    def parameters(self, node, *names):
        values = self.call(
            GetParameters, f'{node}/get_parameters', GetParameters.Request(names=names)).values
        kinds = {1: 'bool_value', 2: 'integer_value', 3: 'double_value', 4: 'string_value',
                 9: 'string_array_value'}
        return [getattr(value, kinds[value.type]) for value in values]

    def say_until_heard(self, kind, to, text, on):
        """Publish a text and return what comes back; a subscriber joins when it joins."""
        heard = []
        subscription = self.node.create_subscription(kind, on, heard.append, 50)
        publisher = self.node.create_publisher(kind, to, 10)
        self.wait(lambda: publisher.get_subscription_count() > 0, f'listener on {to}')
        self.wait(lambda: self.node.count_publishers(on) > 0, f'speaker on {on}')
        publisher.publish(kind(data=text))
        self.wait(lambda: heard, f"'{text}' on {on}")
        self.node.destroy_subscription(subscription)
        self.node.destroy_publisher(publisher)
        return heard[0].data
