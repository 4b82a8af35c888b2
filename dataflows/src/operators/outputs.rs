use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::capabilities::OutputCapabilities;
use crate::Time;

/// An output of an operator.
pub(crate) type Out<D> = OutputBuilder<Time, CapacityContainerBuilder<Vec<D>>>;

/// Emits `data` at `time` and leaves it empty. Does nothing if it is empty.
pub(crate) fn give<D: Clone + 'static>(
    out: &mut Out<D>,
    capabilities: &OutputCapabilities,
    port: usize,
    time: Time,
    data: &mut Vec<D>,
) {
    if !data.is_empty() {
        out.activate().session(&capabilities.at(port, time)).give_iterator(data.drain(..));
    }
}

/// Buffers for the records that an operator emits: a vector for each output port.
pub(crate) trait OutputBuffers: Default + 'static {
    /// The output ports behind the buffers.
    type Ports: 'static;
    /// The streams that leave the ports.
    type Streams<'scope>;

    /// Adds the ports to an operator.
    fn ports<'scope>(builder: &mut OperatorBuilder<'scope, Time>) -> (Self::Ports, Self::Streams<'scope>);

    /// Emits everything buffered at `time`.
    fn flush(&mut self, ports: &mut Self::Ports, capabilities: &OutputCapabilities, time: Time);
}

impl<D: Clone + 'static> OutputBuffers for Vec<D> {
    type Ports = (usize, Out<D>);
    type Streams<'scope> = Stream<'scope, Time, Vec<D>>;

    fn ports<'scope>(builder: &mut OperatorBuilder<'scope, Time>) -> (Self::Ports, Self::Streams<'scope>) {
        let port = builder.shape().outputs();
        let (output, stream) = builder.new_output();
        ((port, OutputBuilder::from(output)), stream)
    }

    fn flush(&mut self, (port, out): &mut Self::Ports, capabilities: &OutputCapabilities, time: Time) {
        give(out, capabilities, *port, time, self);
    }
}

impl<A: OutputBuffers, B: OutputBuffers> OutputBuffers for (A, B) {
    type Ports = (A::Ports, B::Ports);
    type Streams<'scope> = (A::Streams<'scope>, B::Streams<'scope>);

    fn ports<'scope>(builder: &mut OperatorBuilder<'scope, Time>) -> (Self::Ports, Self::Streams<'scope>) {
        let (a, b) = (A::ports(builder), B::ports(builder));
        ((a.0, b.0), (a.1, b.1))
    }

    fn flush(&mut self, ports: &mut Self::Ports, capabilities: &OutputCapabilities, time: Time) {
        self.0.flush(&mut ports.0, capabilities, time);
        self.1.flush(&mut ports.1, capabilities, time);
    }
}
